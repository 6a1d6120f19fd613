// Command pricer is an agent in a process of its own: it knows what things cost.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"

	"polity.run/fault"
	"polity.run/remote"
)

type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

type quote struct {
	Cents int `json:"cents"`
}

var cents = map[string]int{"apple": 40, "pear": 55}

func price(_ context.Context, in order) (quote, error) {
	each, ok := cents[in.Item]
	if !ok {
		return quote{}, fault.NotFound.New("there are no %ss", in.Item)
	}
	return quote{each * in.Count}, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := remote.Serve(ctx, os.Args[1], remote.Func(price)); err != nil {
		log.Fatal(err)
	}
}
