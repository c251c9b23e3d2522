package main

import (
	"context"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// image is what a Dockerfile makes: a root, and how a process starts there.
type image struct {
	root                    string
	env, entry, cmd, health []string
	uid, gid                int
	volumes, exposed        []string
}

// builder does what a Dockerfile says, in the order that it says it. It stands in for the engine: the stage that builds has this machine's Go and shell,
// and the network, as golang's image has.
type builder struct {
	repo, dir string
	given     map[string]string // build arguments
	stages    map[string]string // roots by name

	// of the stage at work
	image
	scratch bool
	workdir string
	known   map[string]string // arguments that the stage has declared
}

// build must be run by inNamespaces.
func (b *builder) build(dockerfile string) (*image, error) {
	all, err := parseDockerfile(dockerfile)
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if err := b.step(i); err != nil {
			return nil, fmt.Errorf("%s %s: %w", i.name, i.args, err)
		}
	}
	return &b.image, nil
}

func (b *builder) step(i instruction) (err error) {
	args := i.args
	if i.name != "RUN" { // there the shell does it
		args = os.Expand(args, func(name string) string { return b.known[name] })
	}
	switch i.name {
	case "FROM":
		return b.from(i.flags["platform"], strings.Fields(args))
	case "ARG":
		names, values := assignments(args)
		for n, name := range names {
			b.known[name] = values[n]
			if value, given := b.given[name]; given {
				b.known[name] = value
			}
		}
	case "ENV":
		names, values := assignments(args)
		for n, name := range names {
			b.env = append(b.env, name+"="+values[n])
		}
	case "WORKDIR":
		b.workdir = args
		return os.MkdirAll(b.at(args), 0o755)
	case "COPY":
		return b.copy(i.flags, strings.Fields(args))
	case "RUN":
		return b.run(args)
	case "USER":
		b.uid, b.gid, err = ids(args)
	case "VOLUME":
		b.volumes = strings.Fields(args)
	case "EXPOSE":
		b.exposed = strings.Fields(args)
	case "HEALTHCHECK":
		command, found := strings.CutPrefix(args, "CMD ")
		if !found {
			return errors.New("want CMD")
		}
		b.health, err = execForm(command)
	case "ENTRYPOINT":
		b.entry, err = execForm(args)
	case "CMD":
		b.cmd, err = execForm(args)
	default:
		err = errors.New("teach this test what it means")
	}
	return err
}

// at is where a path of the stage's is.
func (b *builder) at(name string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(b.workdir, name)
	}
	return filepath.Join(b.root, name)
}

func (b *builder) from(platform string, args []string) error {
	b.image = image{root: filepath.Join(b.dir, fmt.Sprint("stage", len(b.stages)))}
	b.known, b.workdir, b.scratch = map[string]string{}, "/", args[0] == "scratch"
	name := b.root
	if len(args) == 3 {
		name = args[2]
	}
	b.stages[name] = b.root
	if err := os.MkdirAll(b.root, 0o755); err != nil || b.scratch {
		return err
	}
	tag, found := strings.CutPrefix(args[0], "golang:")
	if !found || platform != "$BUILDPLATFORM" && platform != runtime.GOOS+"/"+runtime.GOARCH {
		return fmt.Errorf("want a stage of golang for the platform that builds, not %q", platform)
	}
	mod, err := os.ReadFile(filepath.Join(b.repo, "go.mod"))
	if err != nil {
		return err
	}
	if wants := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod)); !strings.HasPrefix(tag+".", wants[1]+".") {
		return fmt.Errorf("go.mod wants Go %s, and golang's images fetch no other", wants[1])
	}
	return b.furnish()
}

// furnish shows the stage what golang's image has: this machine's system, read-only, and Go with its caches.
func (b *builder) furnish() error {
	var goes struct{ GOROOT, GOMODCACHE, GOCACHE, GOPROXY, GOSUMDB, GONOSUMDB, GOPRIVATE string }
	out, err := exec.Command("go", "env", "-json", "GOROOT", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE").Output()
	if err == nil {
		err = json.Unmarshal(out, &goes)
	}
	if err != nil {
		return err
	}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/dev", "/proc", goes.GOROOT, goes.GOMODCACHE, goes.GOCACHE} {
		info, err := os.Lstat(dir)
		if errors.Is(err, os.ErrNotExist) && filepath.Dir(dir) == "/" {
			continue
		}
		target := filepath.Join(b.root, dir)
		if err == nil && info.Mode()&os.ModeSymlink != 0 {
			to, _ := os.Readlink(dir)
			if err := os.Symlink(to, target); err != nil {
				return err
			}
			continue
		}
		if strings.HasPrefix(dir, "/usr/") {
			continue
		}
		caches := dir == goes.GOMODCACHE || dir == goes.GOCACHE
		if err := bind(dir, target, !caches); err != nil {
			return err
		}
	}
	b.env = []string{
		"PATH=" + goes.GOROOT + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "GOTOOLCHAIN=local",
		"GOMODCACHE=" + goes.GOMODCACHE, "GOCACHE=" + goes.GOCACHE, "GOPROXY=" + goes.GOPROXY, "GOSUMDB=" + goes.GOSUMDB, "GONOSUMDB=" + goes.GONOSUMDB, "GOPRIVATE=" + goes.GOPRIVATE,
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasSuffix(strings.ToLower(name), "_proxy") {
			b.env = append(b.env, v)
		}
	}
	return os.MkdirAll(filepath.Join(b.root, "tmp"), 0o777) // a cache may be there
}

// bind shows a directory elsewhere, too.
func bind(dir, target string, readOnly bool) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(dir, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", dir, err)
	}
	if readOnly {
		if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("read-only %s: %w", dir, err)
		}
	}
	return nil
}

func (b *builder) copy(flags map[string]string, args []string) error {
	from, skip := b.repo, func(string) bool { return false }
	if stage, given := flags["from"]; given {
		if from = b.stages[stage]; from == "" {
			return errors.New("no such stage")
		}
	} else {
		text, err := os.ReadFile(filepath.Join(b.repo, ".dockerignore"))
		if err == nil {
			skip, err = ignored(string(text))
		}
		if err != nil {
			return err
		}
	}
	uid, gid := 0, 0
	if owner, given := flags["chown"]; given {
		var err error
		if uid, gid, err = ids(owner); err != nil {
			return err
		}
	}
	last := len(args) - 1
	for _, source := range args[:last] {
		to := b.at(args[last])
		if info, err := os.Stat(filepath.Join(from, source)); err != nil {
			return err
		} else if !info.IsDir() && (strings.HasSuffix(args[last], "/") || last > 1) {
			to = filepath.Join(to, filepath.Base(source))
		}
		if err := copyTree(to, filepath.Join(from, source), uid, gid, skip); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) run(line string) error {
	if b.scratch {
		return errors.New("an image from nothing has no shell")
	}
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Env = b.env
	for name, value := range b.known {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Dir, cmd.SysProcAttr = b.workdir, &syscall.SysProcAttr{Chroot: b.root, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// inNamespaces runs f where it sees mounts that nobody else sees, and a network of its own if it wants one. They go when it returns, and so do the processes
// that it starts from its own goroutine. Only root may; without it, or where a sandbox forbids it, the test is skipped, unless FASTPUBSUB_WANT_IMAGE is set.
func inNamespaces(t *testing.T, network bool, f func() error) {
	t.Helper()
	refused, failed := make(chan error, 1), make(chan error, 1)
	go func() {
		defer close(failed)
		defer close(refused)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and the namespaces with it
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil && network {
			err = privateNetwork()
		}
		if err != nil {
			refused <- err
			return
		}
		if err := f(); err != nil {
			failed <- err
		}
	}()
	switch err := <-refused; {
	case err != nil && os.Getenv("FASTPUBSUB_WANT_IMAGE") != "":
		t.Fatalf("no namespaces: %v, and FASTPUBSUB_WANT_IMAGE is set", err)
	case err != nil:
		t.Skipf("no namespaces: %v. Root has them, as CI does", err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// privateNetwork is one with nothing but loopback, which starts down.
func privateNetwork() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// furnished is the image as a container that must change nothing: its root read-only, and a volume where it says so.
func (im *image) furnished(volume string) error {
	if err := bind(im.root, im.root, true); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(im.root, "written"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("the root is not read-only: %v", err) //nolint:errorlint // may be nil
	}
	return bind(volume, filepath.Join(im.root, im.volumes[0]), false)
}

// process is what would run in the container: as the image's user, with the image's environment and nothing else, as the first process of its own. It sees no
// /proc, /dev, /tmp or home that an engine might give it.
func (im *image) process(ctx context.Context, env []string, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = "/", append(slices.Clone(im.env), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: im.root, Credential: &syscall.Credential{Uid: uint32(im.uid), Gid: uint32(im.gid)}, Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

// checkStatic refuses a program that would need others, or is for another machine.
func checkStatic(name, arch string) error {
	f, err := elf.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]; f.Machine != want {
		return fmt.Errorf("%s is for %v, not %v", name, f.Machine, want)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("%s is not static", name)
		}
	}
	return nil
}

// imagesVersion and imagesCommit are what the image is built with.
const imagesVersion, imagesCommit = "v1.2.3", "0123456789ab"

// buildImage does what the Dockerfile says for a platform.
func buildImage(t *testing.T, arch string) (im *image) {
	t.Helper()
	repo, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{
		repo: repo, dir: t.TempDir(), stages: map[string]string{},
		given: map[string]string{"TARGETOS": "linux", "TARGETARCH": arch, "VERSION": imagesVersion, "COMMIT": imagesCommit},
	}
	inNamespaces(t, false, func() (err error) {
		im, err = b.build(deployed(t, "Dockerfile"))
		return err
	})
	if !b.scratch || len(im.entry) == 0 || len(im.health) == 0 || len(im.volumes) != 1 || im.uid == 0 {
		t.Fatalf("not from nothing, or without something: %+v", im)
	}
	if err := checkStatic(filepath.Join(im.root, im.entry[0]), arch); err != nil {
		t.Fatal(err)
	}
	if pem, err := os.ReadFile(filepath.Join(im.root, "/etc/ssl/certs/ca-certificates.crt")); err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.Fatalf("nothing to trust where Go looks for it: %v", err)
	}
	return im
}

// TestImage: the Dockerfile's steps, done in their order for each platform, make an image with a static program for it, that starts as a user without rights on
// a read-only disk, with nothing there but what was copied; tells its health; ends at SIGTERM; and is the same node when it starts again. For machines of other
// kinds it is built in CI only, which takes a minute.
func TestImage(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		if arch != runtime.GOARCH && os.Getenv("FASTPUBSUB_WANT_IMAGE") == "" {
			continue
		}
		t.Run(arch, func(t *testing.T) {
			im := buildImage(t, arch)
			if want := fmt.Sprintf("runAsUser: %d, runAsGroup: %d,", im.uid, im.gid); !strings.Contains(deployed(t, ".deploy/kubernetes.yaml"), want) {
				t.Errorf(".deploy/kubernetes.yaml: want %s", want)
			}
			if arch == runtime.GOARCH {
				volume := filepath.Join(t.TempDir(), "volume") // which begins as what the image has there
				if err := os.CopyFS(volume, os.DirFS(filepath.Join(im.root, im.volumes[0]))); err != nil {
					t.Fatal(err)
				}
				var owner unix.Stat_t
				if err := unix.Stat(filepath.Join(im.root, im.volumes[0]), &owner); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(volume, int(owner.Uid), int(owner.Gid)); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				inNamespaces(t, true, func() error { return im.tryOut(ctx, volume) })
			}
		})
	}
}

// tryOut runs the image.
func (im *image) tryOut(ctx context.Context, volume string) error {
	if err := im.furnished(volume); err != nil {
		return err
	}
	out, err := im.process(ctx, nil, im.entry[0], "version").CombinedOutput()
	if want := "fastpubsub " + imagesVersion + " " + imagesCommit + "\n"; err != nil || string(out) != want {
		return fmt.Errorf("version: %q, want %q, %v", out, want, err) //nolint:errorlint // may be nil
	}
	command := slices.Concat(im.entry, im.cmd)
	out, err = im.process(ctx, nil, command...).CombinedOutput()
	if code := (*exec.ExitError)(nil); !errors.As(err, &code) || code.ExitCode() != exitUsage || !strings.Contains(string(out), "--open") {
		return fmt.Errorf("%q without a secret: %v\n%s\nwant exit %d and a word of what to do", command, err, out, exitUsage) //nolint:errorlint // may be nil
	}
	secret, err := im.process(ctx, nil, im.entry[0], "keygen").Output()
	if err != nil {
		return fmt.Errorf("keygen: %w", err)
	}
	env := []string{"FASTPUBSUB_MESH_SECRET=" + strings.TrimSpace(string(secret)), "FASTPUBSUB_REQUIRE_TOKENS=true"}
	first, err := im.lifetime(ctx, env, command)
	if err != nil {
		return err
	}
	second, err := im.lifetime(ctx, env, command)
	if err == nil && first != second {
		err = fmt.Errorf("the volume did not make the same node: %q, then %q", first, second)
	}
	return err
}

// lifetime is of a container: healthy some time after its start, not before and not after its end. It returns what the node calls itself.
func (im *image) lifetime(ctx context.Context, env, command []string) (node string, err error) {
	healthy := func() error {
		out, err := im.process(ctx, env, im.health...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("health: %w\n%s", err, out)
		}
		return err
	}
	if healthy() == nil {
		return "", errors.New("healthy before it was started")
	}
	cmd := im.process(ctx, env, command...)
	var out, log lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for err = healthy(); err != nil; err = healthy() {
		select {
		case <-ended:
			return "", fmt.Errorf("%w, and it ended\n%s%s", err, &out, &log)
		case <-ctx.Done():
			return "", fmt.Errorf("%w\n%s%s", err, &out, &log)
		default:
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return "", err
	}
	if err := <-ended; err != nil {
		return "", fmt.Errorf("SIGTERM: %w\n%s", err, &log)
	}
	if healthy() == nil {
		return "", errors.New("healthy when it had ended")
	}
	if strings.Contains(log.String(), `"level":"error"`) {
		return "", fmt.Errorf("errors in the log:\n%s", &log)
	}
	return im.announced(out.String())
}

// announced reads what a node said at its start: where it listens must be what the image exposes.
func (im *image) announced(text string) (node string, err error) {
	found := regexp.MustCompile(`node (.*)\n +nodes +udp \S+:(\d+)\n +clients +ws://\S+:(\d+)/ws\n`).FindStringSubmatch(text)
	if found == nil {
		return "", fmt.Errorf("announced: %s", text)
	}
	for _, port := range []string{found[2] + "/udp", found[2] + "/tcp", found[3] + "/tcp"} {
		if !slices.Contains(im.exposed, port) {
			return "", fmt.Errorf("EXPOSE %v: not %s, where it listens", im.exposed, port)
		}
	}
	return found[1], nil
}
