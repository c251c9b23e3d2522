package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fastpubsub/fastpubsub/mesh"
	"github.com/fastpubsub/fastpubsub/mesh/channel"
	"github.com/fastpubsub/fastpubsub/wsgate"
)

// TestMain makes the test binary serve as a node too, as the program does, so that a bench can start some.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "node" {
		os.Exit(nodeMain(os.Args[2:]))
	}
	// memberlist's Shutdown does not wait for a probe under way; that ends with its time-out.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"))
}

// nodeMain runs a node until it is told to end.
func nodeMain(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var join []string
	for i, arg := range args {
		if arg == "--join" {
			join = append(join, args[i+1])
		}
	}
	err := runNode(ctx, join, func(node, gate string) {
		fmt.Printf("node test\n  nodes    udp %s\n  clients  %s\n  join it  somehow\n", node, gate)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runNode runs a node until ctx ends.
func runNode(ctx context.Context, join []string, announce func(node, gate string)) error {
	identity, err := mesh.LoadIdentity("", "", time.Now())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	hub := wsgate.NewHub(wsgate.HubConfig{})
	node, err := mesh.New(mesh.Config{
		Identity: identity, Listen: "127.0.0.1:0", Join: join, Wants: hub.Wants,
		Deliver: func(m channel.Message, _ mesh.Trace) bool { return hub.Deliver(m) > 0 },
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server, err := wsgate.New(wsgate.Config{Hub: hub, Broker: node, Describe: node.Describe})
	if err != nil {
		return err
	}
	announce(node.Addr().String(), fmt.Sprintf("ws://%v/ws", listener.Addr()))
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { _ = server.Serve(ctx, listener) })
	return node.Run(ctx)
}

// startMesh starts two nodes in this process and returns their addresses.
func startMesh(t *testing.T) (pub, sub string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	var gates, join []string
	for range 2 {
		up := make(chan struct{})
		group.Go(func() {
			err := runNode(ctx, join, func(node, gate string) {
				gates, join = append(gates, gate), append(join, node)
				close(up)
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-up
	}
	return gates[0], gates[1]
}

// small is a configuration that is soon done with.
func small(out io.Writer, target Target) Config {
	return Config{
		Target: target, Duration: 200 * time.Millisecond, WarmUp: 50 * time.Millisecond, Patience: time.Second, Repetitions: 1, Out: out, Err: io.Discard,
		Load: Load{Rate: 200, Subscribers: 40, Connections: 20, Channels: 300, InFlight: 100, Backlog: 500},
	}
}
