package engine_test

import (
	"crypto/sha256"
	"encoding/hex"
)

func pin(text string) (string, map[string][]byte) {
	sum := sha256.Sum256([]byte(text))
	d := hex.EncodeToString(sum[:])
	return d, map[string][]byte{d: []byte(text)}
}
