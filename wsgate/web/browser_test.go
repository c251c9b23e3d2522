package web_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browserPatience bounds a whole test, so that a page that never gets there fails it.
const browserPatience = 4 * time.Minute

// startBrowser starts Chromium, with a profile of its own, and returns the context of its first tab.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path := program(t, "chromium", "chromium-browser", "google-chrome", "chrome")
	limited, cancel := context.WithTimeout(context.Background(), browserPatience)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewExecAllocator(limited, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	do(t, ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("browser: %v", err)
		}
	})
	return ctx
}

// do runs steps in a tab.
func do(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(tab, steps...); err != nil {
		t.Fatal(err)
	}
}

// await waits until a JavaScript expression is true in a tab. If it never is, the log shows what the page says.
func await(t *testing.T, tab context.Context, expression string, args ...any) {
	t.Helper()
	expression = fmt.Sprintf(expression, args...)
	_, err := chromedp.Run(tab, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0)))
	if err != nil {
		text, _ := chromedp.Run(tab, chromedp.Evaluate[string]("document.body.dataset.status + '\\n' + document.body.innerText"))
		t.Fatalf("%s: %v\nthe page: %s", expression, err, text)
	}
}

// openTab opens a tab, whose events it listens to.
func openTab(t *testing.T, browser context.Context, listen func(event any)) context.Context {
	t.Helper()
	tab, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	if err := chromedp.Listen(tab, listen); err != nil {
		t.Fatal(err)
	}
	return tab
}

// openChat opens the chat in a new tab, as somebody.
func openChat(t *testing.T, browser context.Context, addr, name string) context.Context {
	t.Helper()
	tab := openTab(t, browser, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("%s: %s", name, e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			for _, arg := range e.Args {
				t.Logf("%s: console: %s", name, arg.Value)
			}
		}
	})
	do(t, tab, chromedp.EmulateViewport(900, 640), chromedp.Navigate("http://"+addr+"/web/chat.html#room=tea&name="+name))
	return tab
}

// say writes a message and sends it.
func say(t *testing.T, tab context.Context, text string) {
	t.Helper()
	do(t, tab, chromedp.SendKeys(chromedp.CSS("#text"), text+"\r"))
}

// heard waits for a message of somebody else's.
func heard(t *testing.T, tab context.Context, from, text string) {
	t.Helper()
	await(t, tab, `[...document.querySelectorAll('.said:not(.mine)')].some(m =>
		m.querySelector('p').textContent === %q && m.querySelector('footer').textContent.startsWith(%q))`, text, from)
}

// shoot keeps a picture of the page, for people: go test -artifacts says where.
func shoot(t *testing.T, tab context.Context, name, scheme string, width, height int64) {
	t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	do(t, tab, chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, media)
		return err
	}))
	overflows, err := chromedp.Run(tab, chromedp.Evaluate[bool]("document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight"))
	if err != nil || overflows {
		t.Errorf("%s: the page is larger than the window: %v", name, err)
	}
	picture, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), picture, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestChat: two people at two nodes see each other and chat; a node restarts and both carry on.
func TestChat(t *testing.T) {
	browser := startBrowser(t)
	w := startTwins(t)
	ann := openChat(t, browser, w.nodes[0].addr, "Ann")
	bob := openChat(t, browser, w.nodes[1].addr, "Bob")
	both := map[string]context.Context{"Bob": ann, "Ann": bob} // by whom they see

	for other, tab := range both {
		await(t, tab, `document.body.dataset.status === 'open' && document.querySelector('#rtt').textContent.endsWith(' ms')`)
		await(t, tab, `[...document.querySelectorAll('#people li')].some(p => /^%s.* ms$/.test(p.textContent))`, other)
	}
	say(t, ann, "Hello <b>Bob</b>")
	heard(t, bob, "Ann · ", "Hello <b>Bob</b>")
	await(t, bob, `/ ms away$/.test(document.querySelector('.said footer').textContent)`)
	await(t, ann, `/^reached 1 of 1 · .* ms$/.test(document.querySelector('.mine footer').textContent)`)
	say(t, bob, "Hello Ann, how far away are you?")
	heard(t, ann, "Bob · ", "Hello Ann, how far away are you?")

	// Both nodes go, so that whatever node a page has chosen is lost; then one comes back.
	w.halt(0)
	w.halt(1)
	for _, tab := range both {
		await(t, tab, `document.body.dataset.status === 'lost' && !document.querySelector('#notice').hidden`)
	}
	shoot(t, ann, "lost", "light", 900, 640)
	say(t, ann, "Said while there is no connection")
	w.start(0)
	w.start(1)
	for _, tab := range both {
		await(t, tab, `document.body.dataset.status === 'open' && document.querySelector('#notice').hidden`)
	}
	// Whether Bob was back in time for it is open. What is said now he must hear.
	say(t, ann, "Here again")
	heard(t, bob, "Ann · ", "Here again")
	say(t, bob, strings.Repeat("A long answer that needs several lines. ", 6))
	heard(t, ann, "Bob · ", strings.TrimSpace(strings.Repeat("A long answer that needs several lines. ", 6)))
	await(t, ann, `[...document.querySelectorAll('.mine')].at(-1).textContent.includes('reached 1 of 1')`)

	shoot(t, ann, "light", "light", 900, 640)
	shoot(t, ann, "dark", "dark", 900, 640)
	shoot(t, bob, "phone-light", "light", 375, 667)
	shoot(t, bob, "phone-dark", "dark", 375, 667)

	do(t, bob, chromedp.Navigate("about:blank"))
	await(t, ann, `document.querySelector('#log').textContent.includes('Bob left') && document.querySelectorAll('#people li').length === 1`)
}
