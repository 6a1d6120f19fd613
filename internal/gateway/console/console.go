// Package console is the web page on which a person sees and steers organizations at work.
//
// It exists so that this needs no program beside the node: the page is part of it.
package console

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed assets
var embedded embed.FS

// Handler serves the page under /.
func Handler() http.Handler {
	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		panic("console: " + err.Error()) // the folder is embedded above
	}
	return http.FileServerFS(assets)
}
