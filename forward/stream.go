package forward

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// gossipStream is a reliable SWIM stream: one extended CONNECT request as a net.Conn.
type gossipStream struct {
	requestStream
	conn *quic.Conn
	end  func()
	once sync.Once
}

// requestStream is what both ends of a request offer.
type requestStream interface {
	io.ReadWriteCloser
	CancelRead(quic.StreamErrorCode)
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

func (s *gossipStream) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *gossipStream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Close ends both directions.
func (s *gossipStream) Close() error {
	s.once.Do(func() {
		_ = s.requestStream.Close()
		s.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
		s.end()
	})
	return nil
}

// DialStream opens a reliable SWIM stream to addr, on a connection of its own: they are rare, and on a link only the end that dialled it
// could open a request.
func (e *Endpoint) DialStream(ctx context.Context, addr net.Addr) (net.Conn, error) {
	conn, client, err := e.connect(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("forward: stream to %v: %w", addr, err)
	}
	str, err := openGossip(ctx, client)
	if err != nil {
		_ = conn.CloseWithError(codeDone, "")
		return nil, fmt.Errorf("forward: stream to %v: %w", addr, err)
	}
	stop := context.AfterFunc(e.ctx, //nolint:contextcheck // ctx is for the dial alone
		func() { _ = conn.CloseWithError(codeDone, "node stops") })
	return &gossipStream{requestStream: str, conn: conn, end: func() {
		stop()
		_ = conn.CloseWithError(codeDone, "")
	}}, nil
}

func openGossip(ctx context.Context, client *http3.ClientConn) (*http3.RequestStream, error) {
	str, err := client.OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := str.SendRequestHeader(connectRequest(protocolGossip, http.Header{})); err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = str.SetReadDeadline(deadline)
		defer func() { _ = str.SetReadDeadline(time.Time{}) }()
	}
	res, err := str.ReadResponse() //nolint:bodyclose // its body is the stream
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: answer %d", errProtocol, res.StatusCode)
	}
	return str, nil
}

// serveGossip hands a stream over and stays until it is closed.
func (e *Endpoint) serveGossip(w http.ResponseWriter, conn *quic.Conn) {
	defer use(conn)()
	str, err := takeOver(w)
	if err != nil {
		return
	}
	done := make(chan struct{})
	e.cfg.Stream(&gossipStream{requestStream: str, conn: conn, end: func() { close(done) }})
	select {
	case <-done:
	case <-conn.Context().Done():
	}
}
