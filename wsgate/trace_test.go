package wsgate

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// A trace may take longer than any other page, and leaves the connection as it was.
func TestTraceTakesItsTime(t *testing.T) {
	slow := func(ctx context.Context, _ []byte) (any, error) {
		select {
		case <-time.After(time.Minute):
			return map[string]bool{"done": true}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	inWorld(t, Config{Trace: slow}, func(t *testing.T, w *world) {
		status, answer := w.call("POST", "/v1/trace", `{}`)
		if status != http.StatusOK || answer["done"] != true || w.server.tracing.Load() != 0 {
			t.Errorf("%d %v, %d under way", status, answer, w.server.tracing.Load())
		}
		// Whoever hangs up is not waited for.
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+wsAddr+"/v1/trace", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{DialContext: w.net.Host(clientIP).DialContext}
		defer transport.CloseIdleConnections()
		response, err := transport.RoundTrip(request)
		if err == nil {
			response.Body.Close()
			t.Fatal("answered at once")
		}
		time.Sleep(time.Second)
		if got := w.server.tracing.Load(); got != 0 {
			t.Errorf("%d under way", got)
		}
	})
	inWorld(t, Config{}, func(t *testing.T, w *world) {
		if status, answer := w.call("POST", "/v1/trace", `{}`); status != http.StatusServiceUnavailable {
			t.Errorf("of a node that does not trace: %d %v", status, answer)
		}
	})
}
