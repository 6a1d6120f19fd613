package environ_test

import (
	"context"
	"fmt"
	"strings"

	"polity.run/environ"
)

func ExampleLines() {
	source := environ.Lines{From: strings.NewReader("Is it late?\n{\"question\": \"Is it?\", \"by\": \"Ada\"}\n")}.Open()
	err := source.Run(context.Background(), func(_ context.Context, o environ.Observation) error {
		fmt.Println(string(o.Input))
		return nil
	})
	fmt.Println(err)
	// Output:
	// {"question":"Is it late?"}
	// {"question":"Is it?","by":"Ada"}
	// <nil>
}
