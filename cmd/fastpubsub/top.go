package main

import (
	"context"
	"time"

	"github.com/fastpubsub/fastpubsub/cmd/fastpubsub/internal/top"
)

// topCommand shows what a mesh does.
type topCommand struct {
	URL   string        `name:"url" default:"ws://127.0.0.1:8080/ws" help:"WebSocket address of any node of the mesh." placeholder:"URL"`
	Token string        `help:"Where clients need tokens: an access token that may subscribe to $mesh.#." placeholder:"AT_..."`
	Once  bool          `help:"Print plain tables once, and end."`
	Wait  time.Duration `default:"10s" help:"With --once: how long to wait for all nodes; then those that were heard are shown."`
	JSON  bool          `name:"json" help:"Print JSON: with --once one object, else each report on a line."`
}

// Run shows it until the user quits or the context ends.
func (c *topCommand) Run(ctx context.Context, std streams) error {
	return top.Run(ctx, top.Options{Config: top.Config{URL: c.URL, Token: c.Token}, Once: c.Once, JSON: c.JSON, Wait: c.Wait, In: std.in, Out: std.out})
}
