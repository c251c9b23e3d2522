package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/qlogwriter"
)

// The ":protocol" tokens of the two kinds of extended CONNECT. A change of the wire format changes them.
const (
	protocolLane   = "fastpubsub-lane-1"
	protocolGossip = "fastpubsub-gossip-1"
)

const (
	headerBoot  = "Fps-Boot"  // boot of the sender, decimal
	headerLane  = "Fps-Lane"  // number of this lane
	headerLanes = "Fps-Lanes" // how many lanes the link has
	headerWant  = "Fps-Want"  // NodeID that the dialler expects, to tell "wrong node" from "no node"
)

// DialTimeout bounds a dial: a dead address answers nothing.
const DialTimeout = 2 * time.Second

// connectRequest is an extended CONNECT request.
func connectRequest(protocol string, header http.Header) *http.Request {
	return &http.Request{
		Method: http.MethodConnect, Proto: protocol, Host: "node",
		URL: &url.URL{Scheme: "https", Host: "node", Path: "/"}, Header: header,
	}
}

// Dial opens a link to the node want at addr. It returns once the link is open, with ErrDuplicate if the peer keeps another.
func (e *Endpoint) Dial(ctx context.Context, addr net.Addr, want wire.NodeID) error {
	return e.dial(ctx, addr, want, "")
}

func (e *Endpoint) dial(ctx context.Context, addr net.Addr, want wire.NodeID, what purpose) error {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	shown := e.cfg.Trust.Current()
	conn, client, err := e.connect(ctx, addr)
	if err != nil {
		return fmt.Errorf("forward: dial %v: %w", addr, err)
	}
	l, err := e.openLanes(ctx, conn, client, want, what)
	if err == nil {
		l.shown, l.Renews = shown, what == forRenewal
		err = e.adopt(l)
	}
	if err != nil {
		_ = conn.CloseWithError(codeDuplicate, "")
		return fmt.Errorf("forward: dial %v: %w", addr, err)
	}
	e.group.Go(func() { e.work(l) })
	if l.near && l.peerNumber != 0 && e.cfg.Connect != nil {
		e.group.Go(func() { e.keepNear(l, l.peerNumber) })
	}
	return nil
}

// connect opens an HTTP/3 connection and waits until the peer allows extended CONNECT on it.
func (e *Endpoint) connect(ctx context.Context, addr net.Addr) (*quic.Conn, *http3.ClientConn, error) {
	conn, err := e.transport.Dial(ctx, addr, e.cfg.Trust.Client(http3.NextProtoH3), quicConfig())
	if err != nil {
		e.noteStranger(addr, err)
		return nil, nil, err
	}
	client := e.client.NewClientConn(conn)
	select {
	case <-client.ReceivedSettings():
		return conn, client, nil
	case <-conn.Context().Done():
		err := context.Cause(conn.Context()) //nolint:contextcheck // the connection has its own life
		e.noteStranger(addr, err)
		return nil, nil, err
	case <-ctx.Done():
		_ = conn.CloseWithError(codeDone, "")
		return nil, nil, ctx.Err()
	}
}

func (e *Endpoint) openLanes(ctx context.Context, conn *quic.Conn, client *http3.ClientConn, want wire.NodeID, what purpose) (*Link, error) {
	state := conn.ConnectionState().TLS
	peer, err := e.cfg.Trust.Peer(&state)
	if err != nil {
		return nil, err
	}
	if peer == e.self || peer != want {
		return nil, fmt.Errorf("%w: it is %v, want %v", ErrIdentity, peer, want)
	}
	lanes := make([]lane, e.cfg.Lanes)
	var control *http3.RequestStream
	for i := range lanes {
		str, err := client.OpenRequestStream(ctx)
		if err != nil {
			return nil, err
		}
		if i == controlLane {
			control = str
		}
		if err := str.SendRequestHeader(connectRequest(protocolLane, laneHeader(e, i, len(lanes), want, what))); err != nil {
			return nil, err
		}
		lanes[i] = str
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = control.SetReadDeadline(deadline)
	}
	res, err := control.ReadResponse() //nolint:bodyclose // its body is the lane
	if err != nil {
		return nil, err
	}
	_ = control.SetReadDeadline(time.Time{})
	if res.StatusCode == http.StatusConflict {
		return nil, ErrDuplicate
	}
	boot, err := strconv.ParseUint(res.Header.Get(headerBoot), 10, 64)
	if res.StatusCode != http.StatusOK || err != nil || boot == 0 {
		return nil, fmt.Errorf("%w: answer %d, boot %q", errProtocol, res.StatusCode, res.Header.Get(headerBoot))
	}
	l := newLink(e, peer, conn, lanes)
	l.Boot, l.dialed = boot, true
	l.peerNumber, _ = strconv.ParseUint(res.Header.Get(headerNear), 10, 64) // none: it takes no near streams
	return l, nil
}

// gathering is the lanes of a connection that a peer opened, as they come.
type gathering struct {
	lanes []lane
	have  int
	boot  uint64
	ready chan struct{} // closed when all lanes are there
	done  chan struct{} // closed when the link has ended
}

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(*quic.Conn)
	peer, err := e.cfg.Trust.Peer(r.TLS)
	switch {
	case conn == nil || err != nil:
		http.Error(w, "no identity", http.StatusForbidden)
	case r.Method == http.MethodGet && r.URL.Path == checkPath:
		e.serveCheck(w, r, conn)
	case r.Method != http.MethodConnect:
		http.Error(w, "node to node only", http.StatusMethodNotAllowed)
	case r.Proto == protocolGossip:
		e.serveGossip(w, conn)
	case r.Proto == protocolLane:
		if err := e.serveLane(w, r, conn, peer); err != nil {
			e.cfg.Log.Debug().Err(err).Stringer("peer", peer).Stringer("remote", conn.RemoteAddr()).Msg("link refused")
		}
	default:
		http.Error(w, "unknown protocol", http.StatusNotImplemented)
	}
}

// serveLane adds a lane to its connection's link; the request of lane 0 runs the link. Each request stays as long as the link.
func (e *Endpoint) serveLane(w http.ResponseWriter, r *http.Request, conn *quic.Conn, peer wire.NodeID) error {
	index, err1 := strconv.Atoi(r.Header.Get(headerLane))
	count, err2 := strconv.Atoi(r.Header.Get(headerLanes))
	boot, err3 := strconv.ParseUint(r.Header.Get(headerBoot), 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || index < 0 || index >= count || count < 2 || count > maxLanes || boot == 0 {
		http.Error(w, "bad lane", http.StatusBadRequest)
		return fmt.Errorf("%w: lane %q of %q, boot %q", errProtocol, r.Header.Get(headerLane), r.Header.Get(headerLanes), r.Header.Get(headerBoot))
	}
	if want := r.Header.Get(headerWant); want != e.self.String() || peer == e.self {
		http.Error(w, "another node", http.StatusMisdirectedRequest)
		return fmt.Errorf("%w: the peer looks for %.16q", ErrIdentity, want)
	}
	in, err := e.gather(conn, count, boot)
	if err != nil {
		http.Error(w, "bad lane", http.StatusBadRequest)
		return err
	}
	if index != controlLane {
		str, err := takeOver(w)
		if err == nil {
			err = e.addLane(in, index, str)
		}
		if err != nil {
			_ = conn.CloseWithError(codeProtocol, "")
			return err
		}
		select {
		case <-in.done:
		case <-conn.Context().Done(): // perhaps before the request of lane 0 came
		}
		return nil
	}
	defer close(in.done)
	select {
	case <-in.ready:
	case <-conn.Context().Done():
		return context.Cause(conn.Context())
	case <-time.After(DialTimeout):
		_ = conn.CloseWithError(codeProtocol, "lanes missing")
		return fmt.Errorf("%w: lanes missing", errProtocol)
	}
	l := newLink(e, peer, conn, in.lanes)
	l.Boot = boot
	l.Renews = r.Header.Get(string(forRenewal)) != ""
	defer use(conn)()
	twin := r.Header.Get(string(forTwin)) != ""
	if twin {
		err = e.attach(e.Link(peer), l)
	} else {
		err = e.adopt(l)
	}
	if err != nil {
		http.Error(w, "duplicate", http.StatusConflict)
		return err
	}
	w.Header().Set(headerBoot, strconv.FormatUint(e.cfg.Boot, 10))
	if e.cfg.Streams != nil && !twin {
		w.Header().Set(headerNear, strconv.FormatUint(l.Number, 10))
	}
	str, err := takeOver(w)
	if err != nil { // the connection is gone; the link ends at once
		l.lanes[controlLane] = lostLane{}
		l.close(codeProtocol, "")
	} else {
		l.lanes[controlLane] = str
	}
	if twin {
		e.workTwin(l)
	} else {
		e.work(l)
	}
	return err
}

// lostLane stands in for a lane whose stream could not be had.
type lostLane struct{}

func (lostLane) Read([]byte) (int, error)                        { return 0, ErrLinkClosed }
func (lostLane) Write([]byte) (int, error)                       { return 0, ErrLinkClosed }
func (lostLane) TryWriteAll([]byte) error                        { return ErrLinkClosed }
func (lostLane) SendDatagram([]byte) error                       { return ErrLinkClosed }
func (lostLane) ReceiveDatagram(context.Context) ([]byte, error) { return nil, ErrLinkClosed }

func takeOver(w http.ResponseWriter) (*http3.Stream, error) {
	w.WriteHeader(http.StatusOK)
	streamer, ok := w.(http3.HTTPStreamer)
	if !ok {
		return nil, errors.New("forward: response writer is not HTTP/3's")
	}
	return streamer.HTTPStream()
}

// gather is the gathering of conn's lanes; all of them must agree on count and boot.
func (e *Endpoint) gather(conn *quic.Conn, count int, boot uint64) (*gathering, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.inits[conn]
	if in == nil {
		in = &gathering{lanes: make([]lane, count), have: 1, boot: boot, ready: make(chan struct{}), done: make(chan struct{})}
		e.inits[conn] = in
	}
	if len(in.lanes) != count || in.boot != boot {
		return nil, fmt.Errorf("%w: lanes disagree", errProtocol)
	}
	return in, nil
}

func (e *Endpoint) addLane(in *gathering, index int, str lane) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if in.lanes[index] != nil {
		return fmt.Errorf("%w: lane %d twice", errProtocol, index)
	}
	in.lanes[index] = str
	if in.have++; in.have == len(in.lanes) {
		close(in.ready)
	}
	return nil
}

func (e *Endpoint) remember(conn *quic.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns[conn] = struct{}{}
}

func (e *Endpoint) forget(conn *quic.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.inits, conn)
	delete(e.conns, conn)
}

// beginHandshake lets a caller begin, unless there are too many, and sees to it that handshakes which fail are told of.
func (e *Endpoint) beginHandshake(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	known, err := e.guard.begin(ctx, info)
	if err == nil {
		context.AfterFunc(ctx, func() { e.noteStranger(info.RemoteAddr, context.Cause(ctx)) })
	}
	return known, err
}

// garbageCounter counts the datagrams that quic-go drops before they reach a connection.
type garbageCounter struct{ counters *Counters }

// RecordEvent implements qlogwriter.Recorder.
func (g *garbageCounter) RecordEvent(event qlogwriter.Event) {
	if event.Name() == "transport:packet_dropped" {
		g.counters.Drop(DropGarbage, 1)
	}
}

// Close implements qlogwriter.Recorder.
func (g *garbageCounter) Close() error { return nil }
