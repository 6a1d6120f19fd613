package door

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"polity.run/fault"
	"polity.run/internal/access"
)

const (
	codeLife = 10 * time.Minute // of a link that begins a session
	codesMax = 100
	loginMax = 64 << 10 // bytes of a request for a session
)

// codes are good once each, to begin a session in a browser.
type codes struct {
	mu  sync.Mutex
	all map[string]coded
}

type coded struct {
	who   access.Who
	until time.Time
}

// make returns a new code.
func (c *codes) make(who access.Who, now time.Time) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for code, of := range c.all {
		if !now.Before(of.until) {
			delete(c.all, code)
		}
	}
	if len(c.all) >= codesMax {
		return "", fault.Exhausted.New("door: %d links wait to be used; wait %s", codesMax, codeLife)
	}
	if c.all == nil {
		c.all = map[string]coded{}
	}
	code := rand.Text()
	c.all[code] = coded{who, now.Add(codeLife)}
	return code, nil
}

// use returns whose a code is, once.
func (c *codes) use(code string, now time.Time) (access.Who, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of, ok := c.all[code]
	delete(c.all, code)
	if !ok || !now.Before(of.until) {
		return access.Who{}, fault.Unauthenticated.New("door: this link was used or is too old; a new one comes from: polity console")
	}
	return of.who, nil
}

// Link returns an address at which a browser becomes the owner's, once, within ten minutes.
func (d *Door) Link() (string, error) {
	code, err := d.codes.make(access.TheOwner(d.owner), time.Now())
	return d.URL() + "/session?code=" + code, err
}

// cookie names the cookie of a session. Cookies of one host are shared by its ports.
func (d *Door) cookie() string {
	_, port, err := net.SplitHostPort(d.host)
	if err != nil {
		return "polity"
	}
	return "polity_" + port
}

// session begins a session with a code and goes on to the console; without one it says who asks.
func (d *Door) session(w http.ResponseWriter, r *http.Request) {
	code := r.URL.Query().Get("code")
	if code == "" {
		who, err := d.who(r)
		if err != nil {
			d.Refuse(w, r, err)
			return
		}
		d.Answer(w, http.StatusOK, who)
		return
	}
	who, err := d.codes.use(code, time.Now())
	if err == nil {
		_, err = d.set(w, r, who)
	}
	if err != nil {
		if wait := d.rates.failed(r.RemoteAddr, time.Now()); wait > 0 {
			err = busy("this address", wait)
		}
		d.Refuse(w, r, err)
		return
	}
	http.Redirect(w, r, "/console/", http.StatusSeeOther)
}

// set begins a session, and gives it to the browser.
func (d *Door) set(w http.ResponseWriter, r *http.Request, who access.Who) (time.Time, error) {
	secret, until, err := d.book.Begin(r.Context(), who)
	if err != nil {
		return until, err
	}
	http.SetCookie(w, &http.Cookie{
		Name: d.cookie(), Value: secret, Path: "/", Expires: until, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	return until, nil
}

// begin begins a session with a token, in the header or in the body.
func (d *Door) begin(w http.ResponseWriter, r *http.Request) {
	who, err := d.login(r)
	var until time.Time
	if err == nil {
		until, err = d.set(w, r, who)
	}
	if err != nil {
		if wait := d.rates.failed(r.RemoteAddr, time.Now()); wait > 0 && errors.Is(err, fault.Unauthenticated) {
			err = busy("this address", wait)
		}
		d.Refuse(w, r, err)
		return
	}
	who.Until = until
	d.Answer(w, http.StatusOK, who)
}

func (d *Door) login(r *http.Request) (access.Who, error) {
	if r.Header.Get("Authorization") != "" {
		return d.who(r)
	}
	var q struct {
		Token string `json:"token"`
	}
	dec := json.NewDecoder(io.LimitReader(r.Body, loginMax))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return access.Who{}, fault.Invalid.New(`door: want the token in the header Authorization, or {"token": ...}: %w`, err)
	}
	return d.holder(r.Context(), q.Token)
}

// end ends a session.
func (d *Door) end(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(d.cookie()); err == nil {
		if err := d.book.End(r.Context(), c.Value); err != nil {
			d.Refuse(w, r, err)
			return
		}
	}
	http.SetCookie(w, &http.Cookie{Name: d.cookie(), Path: "/", MaxAge: -1, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	d.Answer(w, http.StatusOK, struct{}{})
}

// code gives a link that begins a session of whoever asks.
func (d *Door) code(w http.ResponseWriter, r *http.Request) {
	code, err := d.codes.make(access.From(r.Context()), time.Now())
	if err != nil {
		d.Refuse(w, r, err)
		return
	}
	d.Answer(w, http.StatusOK, map[string]string{"path": "/session?code=" + code})
}
