package rest

import "time"

// Hurry has webhooks wait so long between their attempts.
func (s *Server) Hurry(waits ...time.Duration) {
	s.hooks.mu.Lock()
	defer s.hooks.mu.Unlock()
	s.hooks.sender.Waits = waits
}
