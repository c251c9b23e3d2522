package fleet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wan"
)

// Fleet is node processes and the network between them. It makes the nodes; who has one starts them.
type Fleet struct {
	Emulator *wan.Emulator
	Nodes    []*Node // by site
	Dir      string  // where keys and logs are

	relay *wan.Relay
}

// Config says what fleet to make. All but FullMesh and Threads must be set.
type Config struct {
	Names  []string // of the nodes, one a site
	Delays wan.Delays
	Seed   uint64
	Secret trust.Secret
	Over   func(site int) int // through which site a node joins; negative: none

	FullMesh int // see mesh.Config; 0: its default
	Threads  int // that a node runs Go code on at a time; 0: as many as the computer has processors
}

// New makes a fleet that has not started. Close ends it.
func New(cfg Config) (f *Fleet, err error) {
	f = &Fleet{}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(false))
		}
	}()
	if f.Dir, err = os.MkdirTemp("", "fastpubsub-fleet-"); err != nil {
		return f, err
	}
	if f.Emulator, err = wan.NewEmulator(cfg.Delays, cfg.Seed); err != nil {
		return f, err
	}
	program, err := os.Executable()
	if err != nil {
		return f, err
	}
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var listens []netip.AddrPort
	var held ports
	defer func() { err = errors.Join(err, held.free()) }()
	for i, name := range cfg.Names {
		listen, gate, err := held.take()
		if err != nil {
			return f, err
		}
		n := &Node{Name: name, Gate: gate, Dir: filepath.Join(f.Dir, fmt.Sprint(i)), program: program, http: web, fullMesh: cfg.FullMesh, threads: cfg.Threads, listen: listen.String()}
		if err := errors.Join(os.Mkdir(n.Dir, 0o700), n.Hold(cfg.Secret)); err != nil {
			return f, err
		}
		listens, f.Nodes = append(listens, listen), append(f.Nodes, n)
	}
	if f.relay, err = wan.NewRelay(f.Emulator, listens); err != nil {
		return f, err
	}
	for i, n := range f.Nodes {
		n.door = f.relay.Door(i).String()
		if over := cfg.Over(i); over >= 0 {
			n.join = f.relay.Door(over).String()
		}
	}
	return f, nil
}

// ports are held until all are taken, so that none is taken twice.
type ports []io.Closer

// take holds addresses for a node: where others and where clients reach it.
func (p *ports) take() (listen netip.AddrPort, gate string, err error) {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return listen, "", fmt.Errorf("fleet: %w", err)
	}
	*p = append(*p, udp)
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return listen, "", fmt.Errorf("fleet: %w", err)
	}
	*p = append(*p, tcp)
	return udp.LocalAddr().(*net.UDPAddr).AddrPort(), tcp.Addr().String(), nil
}

// free lets them all go: nodes can listen there.
func (p *ports) free() (err error) {
	for _, one := range *p {
		err = errors.Join(err, one.Close())
	}
	return err
}

// Close kills all nodes and ends the network. The logs stay where they are if wanted.
func (f *Fleet) Close(keepLogs bool) error {
	var group sync.WaitGroup
	for _, n := range f.Nodes {
		group.Go(n.Kill)
	}
	group.Wait()
	if f.relay != nil {
		f.relay.Close()
	}
	if f.Emulator != nil {
		f.Emulator.Close()
	}
	if keepLogs || f.Dir == "" {
		return nil
	}
	return os.RemoveAll(f.Dir)
}
