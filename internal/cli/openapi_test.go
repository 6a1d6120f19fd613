package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const crmDocument = `openapi: 3.1.0
info: {title: Customers, version: "1"}
paths:
  /customers/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
    get:
      operationId: getCustomer
      summary: Finds a customer.
      responses: {"200": {content: {application/json: {schema: {type: object, required: [name]}}}}}
    patch:
      operationId: renameCustomer
      requestBody: {required: true, content: {application/json: {schema: {type: object, required: [name], properties: {name: {type: string}}}}}}
`

// TestToolsOfADocument lists and calls the tools of a service that an OpenAPI document describes.
func TestToolsOfADocument(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/customers/8" {
			fmt.Fprint(w, `{"nobody": true}`)
			return
		}
		fmt.Fprintf(w, `{"name": "Ada", "asked": %q, "auth": %q}`, r.Method+" "+r.URL.Path, r.Header.Get("Authorization"))
	}))
	defer s.Close()
	t.Setenv("CRM_TOKEN", "secret")
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	dir := t.TempDir()
	manifest := fmt.Sprintf(`polity: v1
name: desk
tools:
  crm:
    openapi: {document: crm.yaml, server: "%s/v2", allow: [%s], private: true, headers: {Authorization: Bearer $CRM_TOKEN}, check_output: true}
    effects: {renameCustomer: idempotent}
agents:
  crier: {model: quote, instructions: Answer.}
`, s.URL, strings.TrimPrefix(s.URL, "http://"))
	for name, text := range map[string]string{"crm.yaml": crmDocument, "polity.yaml": manifest} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"list", dir}, "crm.getCustomer     none        Finds a customer.", 0},
		{[]string{"list", dir}, "crm.renameCustomer  idempotent  PATCH http", 0},
		{[]string{"call", dir, "crm.getCustomer", `{"id": 7}`}, `"asked": "GET /v2/customers/7"`, 0},
		{[]string{"call", dir, "crm.getCustomer", `{"id": 7}`}, `"auth": "Bearer secret"`, 0},
		{[]string{"call", dir, "crm.renameCustomer", `{"id": 7, "name": "Bo"}`}, `"asked": "PATCH /v2/customers/7"`, 0},
		{[]string{"call", dir, "crm.getCustomer", `{"id": "x"}`}, "at /id: got string, want integer", 2},
		{[]string{"call", dir, "crm.getCustomer", `{"id": 8}`}, "missing property 'name'", 2},
	} {
		var out, complaints bytes.Buffer
		code := Main(context.Background(), append([]string{"tools"}, tt.args...), strings.NewReader(""), &out, &complaints)
		if text := out.String() + complaints.String(); (code == 0) != (tt.code == 0) || !strings.Contains(text, tt.want) {
			t.Errorf("%v: exit code %d, want %q in:\n%s", tt.args[2:], code, tt.want, text)
		}
	}
}
