//go:build ignore

// Goes a newcomer's way, by README's commands: from a fresh clone to a mesh of five nodes with its map open in a browser. It prints how long that takes once
// dependencies are fetched, and fails if it does not get there. With the argument cold nothing is compiled before, as on a newcomer's machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"
)

const patience = 10 * time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	err := newcomer(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "newcomer:", err)
		os.Exit(1)
	}
}

func newcomer(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "newcomer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	clone := filepath.Join(dir, "fastpubsub")
	began := time.Now()
	if out, err := exec.CommandContext(ctx, "git", "clone", "-q", ".", clone).CombinedOutput(); err != nil {
		return fmt.Errorf("clone: %w\n%s", err, out)
	}
	cloned := time.Since(began)

	readme, err := os.ReadFile(filepath.Join(clone, "README.md"))
	if err != nil {
		return err
	}
	command := regexp.MustCompile(`(?m)^    (go run \./cmd/fastpubsub demo --nodes 5 --ws [0-9.:]+) +# .*(http://[0-9.:]+/)`).FindSubmatch(readme)
	if command == nil {
		return errors.New("README has no command for five nodes with a map")
	}
	fetch := exec.CommandContext(ctx, "go", "mod", "download")
	fetch.Dir = clone
	if out, err := fetch.CombinedOutput(); err != nil {
		return fmt.Errorf("dependencies: %w\n%s", err, out)
	}

	began = time.Now()
	var said strings.Builder
	demo := exec.Command("sh", "-c", string(command[1]))
	demo.Dir, demo.Env, demo.Stdout, demo.Stderr = clone, os.Environ(), &said, &said
	if len(os.Args) > 1 && os.Args[1] == "cold" {
		demo.Env = append(demo.Env, "GOCACHE="+filepath.Join(dir, "cache"))
	}
	demo.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run's child, too, is to get the signal
	if err := demo.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- demo.Wait() }()
	mapped, err := openMap(ctx, string(command[2]), ended)
	took := time.Since(began)
	_ = syscall.Kill(-demo.Process.Pid, syscall.SIGINT)
	kill := time.AfterFunc(time.Minute, func() { _ = syscall.Kill(-demo.Process.Pid, syscall.SIGKILL) })
	<-ended
	kill.Stop()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", command[1], err, &said)
	}
	fmt.Printf("two commands: git clone %.1f s, %s %.1f s, of which %.1f s until the page was there; together %.1f s\n",
		cloned.Seconds(), command[1], took.Seconds(), (took - mapped).Seconds(), (cloned + took).Seconds())
	return nil
}

// openMap opens the page in a browser, as soon as it is there, until five nodes with all their links are on the map, and tells how long that took.
func openMap(ctx context.Context, url string, ended chan error) (time.Duration, error) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil && browser == "" {
			browser = path
		}
	}
	for {
		if exec.CommandContext(ctx, "curl", "-fsS", "-o", os.DevNull, url).Run() == nil {
			break
		}
		select {
		case err := <-ended:
			ended <- err
			return 0, fmt.Errorf("it ended: %w", err)
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	began := time.Now()
	ctx, cancel := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox)...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		return 0, err
	}
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](`document.querySelector('#tile-nodes')?.textContent === '5' && document.querySelector('#tile-links').textContent === '10'`,
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0)))
	return time.Since(began), err
}
