package forward

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/fastpubsub/fastpubsub/mesh/trust"
	"github.com/fastpubsub/fastpubsub/mesh/wire"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A member that is no node yet, as fastpubsub doctor is, asks a node by GET on a connection of its own:
//
//	GET /check                        a CheckAnswer as JSON
//	GET /check?call=PORT&nonce=HEX    and one datagram, callByte and the nonce, to that port of the asker's own address, from another socket than the node's
//
// The asker has proved its address by the handshake and its membership by its certificate, the datagram is shorter than the question and goes nowhere but to
// the asker's address, and callRate bounds them. So nobody can be made to bother a third party.
const (
	checkPath  = "/check"
	callByte   = 0x3f // no QUIC packet starts so
	nonceBytes = 16
	callRate   = 2 // a second, for all who ask
	callBurst  = 10
	answerMost = 4 << 10
)

// ErrNoCheck reports a node of an older release, which answers no checks.
var ErrNoCheck = errors.New("forward: the node answers no checks: its release is older")

// CheckAnswer is what a node says of itself, and of whom it sees.
type CheckAnswer struct {
	Protocol string         `json:"protocol"` // of links; nodes of another cannot be linked
	Now      time.Time      `json:"now"`
	Seen     netip.AddrPort `json:"seen"`   // where the question came from
	Called   bool           `json:"called"` // a datagram was sent
}

// serveCheck answers who checks.
func (e *Endpoint) serveCheck(w http.ResponseWriter, r *http.Request, conn *quic.Conn) {
	defer use(conn)()
	answer := CheckAnswer{Protocol: protocolLane, Seen: portOf(conn.RemoteAddr())}
	if port, nonce, ok := parseCall(r.URL.Query()); ok && e.cfg.Call != nil && e.calls.Allow() {
		err := e.cfg.Call(r.Context(), netip.AddrPortFrom(answer.Seen.Addr(), port), append([]byte{callByte}, nonce...))
		answer.Called = err == nil
	}
	w.Header().Set("Content-Type", "application/json")
	answer.Now = time.Now()
	_ = json.NewEncoder(w).Encode(answer)
}

// parseCall is the port and the nonce of a question that asks for a datagram.
func parseCall(query url.Values) (port uint16, nonce []byte, ok bool) {
	number, err := strconv.ParseUint(query.Get("call"), 10, 16)
	if err != nil || number == 0 {
		return 0, nil, false
	}
	nonce, err = hex.DecodeString(query.Get("nonce"))
	return uint16(number), nonce, err == nil && len(nonce) == nonceBytes
}

// parseAnswer reads what a node answers.
func parseAnswer(text []byte) (a CheckAnswer, err error) {
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("%w: answer of a check: %w", errProtocol, err)
	}
	if a.Protocol == "" || len(a.Protocol) > 64 || a.Now.IsZero() || !a.Seen.IsValid() {
		return a, fmt.Errorf("%w: answer of a check lacks protocol, time or address", errProtocol)
	}
	return a, nil
}

// Protocol is the protocol of this program's links.
const Protocol = protocolLane

// CheckerConfig is what a Checker needs; all of it.
type CheckerConfig struct {
	Socket net.PacketConn // not closed
	Trust  *trust.Keeper  // what the checker shows, and whom it believes
}

// Checker asks nodes as a member that is no node. It is not for concurrent use.
type Checker struct {
	cfg       CheckerConfig
	transport *quic.Transport
	client    *http3.Transport
}

// NewChecker begins to read the socket; Close ends that.
func NewChecker(cfg CheckerConfig) *Checker {
	c := &Checker{cfg: cfg, transport: &quic.Transport{Conn: cfg.Socket}, client: &http3.Transport{DisableCompression: true}}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, _ = c.transport.ReadNonQUICPacket(ended, nil) // from now on such packets are kept, so that none comes too early
	return c
}

// Close ends all that the checker has begun.
func (c *Checker) Close() error { return errors.Join(c.client.Close(), c.transport.Close()) }

// Met is a node that a Checker has met. Close ends the connection.
type Met struct {
	ID        wire.NodeID
	Authority string // that issued its certificate; empty in an open mesh
	conn      *quic.Conn
	client    *http3.ClientConn
}

// Meet makes a connection by the full handshake of nodes, in datagrams of at least size bytes (1200 to 1452) where it begins; 0 means the size that nodes begin with. Errors are those of
// quic-go and package trust.
func (c *Checker) Meet(ctx context.Context, addr net.Addr, size int) (*Met, error) {
	config := quicConfig()
	if size > 0 {
		config.InitialPacketSize, config.DisablePathMTUDiscovery = uint16(size), true
	}
	conn, err := c.transport.Dial(ctx, addr, c.cfg.Trust.Client(http3.NextProtoH3), config)
	if err != nil {
		return nil, err
	}
	client := c.client.NewClientConn(conn)
	select { // whether the node believes us shows only after the handshake
	case <-client.ReceivedSettings():
	case <-conn.Context().Done():
		return nil, context.Cause(conn.Context()) //nolint:contextcheck // the connection has its own life
	case <-ctx.Done():
		_ = conn.CloseWithError(codeDone, "")
		return nil, ctx.Err()
	}
	state := conn.ConnectionState().TLS
	id, err := c.cfg.Trust.Peer(&state)
	if err != nil {
		_ = conn.CloseWithError(codeDone, "")
		return nil, err
	}
	return &Met{ID: id, Authority: c.cfg.Trust.PeerAuthority(&state), conn: conn, client: client}, nil
}

// Close ends the connection.
func (m *Met) Close() { _ = m.conn.CloseWithError(codeDone, "") }

// Ask asks the node, and has it send a datagram with the nonce to that port of this machine's address, where port is not 0. ErrNoCheck: it does not know how.
func (m *Met) Ask(ctx context.Context, port uint16, nonce [nonceBytes]byte) (CheckAnswer, error) {
	at := &url.URL{Scheme: "https", Host: "node", Path: checkPath}
	if port != 0 {
		at.RawQuery = url.Values{"call": {strconv.Itoa(int(port))}, "nonce": {hex.EncodeToString(nonce[:])}}.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return CheckAnswer{}, err
	}
	res, err := m.client.RoundTrip(r)
	if err != nil {
		return CheckAnswer{}, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusMethodNotAllowed:
		return CheckAnswer{}, ErrNoCheck
	default:
		return CheckAnswer{}, fmt.Errorf("%w: a check is answered by status %d", errProtocol, res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, answerMost))
	if err != nil {
		return CheckAnswer{}, err
	}
	return parseAnswer(text)
}

// Heard waits for the datagram with the nonce, until ctx ends.
func (c *Checker) Heard(ctx context.Context, nonce [nonceBytes]byte) error {
	b := make([]byte, packetQueue)
	for {
		n, _, err := c.transport.ReadNonQUICPacket(ctx, b)
		if err != nil {
			return err
		}
		if n == 1+nonceBytes && b[0] == callByte && [nonceBytes]byte(b[1:n]) == nonce {
			return nil
		}
	}
}
