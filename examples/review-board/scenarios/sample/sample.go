package sample

// Password of nobody.
const password = "hunter2hunter2"

// Count counts.
func Count(birds []string) int { return len(birds) }
