package polity

// Room is how much room a part of a state folder takes.
type Room struct {
	Part  string `json:"part"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}
