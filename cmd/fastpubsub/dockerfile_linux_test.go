package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// instruction is one of a Dockerfile.
type instruction struct {
	name, args string
	flags      map[string]string
}

// parseDockerfile reads what a Dockerfile says, as far as ours goes: no here-documents, no ONBUILD, no other escape.
func parseDockerfile(text string) (all []instruction, err error) {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	whole := strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", " ")
	for line := range strings.SplitSeq(whole, "\n") {
		name, args, found := strings.Cut(line, " ")
		if !found || name != strings.ToUpper(name) {
			return nil, fmt.Errorf("%q is no instruction", line)
		}
		i := instruction{name: name, flags: map[string]string{}}
		for args = strings.TrimSpace(args); strings.HasPrefix(args, "--"); args = strings.TrimSpace(args) {
			var flag string
			flag, args, _ = strings.Cut(args, " ")
			key, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			i.flags[key] = value
		}
		i.args = args
		all = append(all, i)
	}
	return all, nil
}

// execForm is a command as ["program", "argument"]: the only form for an image without a shell.
func execForm(text string) (command []string, err error) {
	if err := json.Unmarshal([]byte(text), &command); err != nil || len(command) == 0 {
		return nil, fmt.Errorf("%s: want [\"program\", \"argument\", ...], since the image has no shell", text)
	}
	return command, nil
}

// assignments are NAME=value pairs; a value may be in double quotes.
func assignments(text string) (names, values []string) {
	for _, found := range regexp.MustCompile(`([A-Za-z_]+)(?:=(?:"([^"]*)"|(\S*)))?`).FindAllStringSubmatch(text, -1) {
		names, values = append(names, found[1]), append(values, found[2]+found[3])
	}
	return names, values
}

// ids are the user and group of USER and --chown. Names are refused: an image from nothing has no list of them, and Kubernetes's runAsNonRoot takes numbers only.
func ids(text string) (uid, gid int, err error) {
	user, group, _ := strings.Cut(text, ":")
	if uid, err = strconv.Atoi(user); err == nil {
		gid, err = strconv.Atoi(group)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("user %q: want numbers, UID:GID", text)
	}
	return uid, gid, nil
}

// ignored tells which files of the build context a .dockerignore keeps out.
func ignored(text string) (func(name string) bool, error) {
	var patterns []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.ContainsAny(line, `![\`) {
			return nil, fmt.Errorf(".dockerignore: %q is beyond this test", line)
		}
		line = regexp.QuoteMeta(path.Clean(strings.TrimPrefix(line, "/")))
		line = strings.NewReplacer(`\*\*/`, `(?:.*/)?`, `\*\*`, `.*`, `\*`, `[^/]*`, `\?`, `[^/]`).Replace(line)
		patterns = append(patterns, line)
	}
	match, err := regexp.Compile(`^(?:` + strings.Join(patterns, "|") + `)(?:/|$)`)
	if err != nil || len(patterns) == 0 {
		return func(string) bool { return false }, err
	}
	return match.MatchString, nil
}

// copyTree copies a file or what is in a directory; skip leaves out, by names in from. Owners are the given ones unless negative.
func copyTree(to, from string, uid, gid int, skip func(name string) bool) error {
	return filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(from, name)
		if relative != "." && skip(filepath.ToSlash(relative)) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		target := filepath.Join(to, relative)
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			err = os.MkdirAll(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			err = copyFile(target, name, info.Mode().Perm())
		}
		if err == nil && uid >= 0 {
			err = os.Chown(target, uid, gid)
		}
		return err
	})
}

func copyFile(to, from string, mode fs.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, mode)
}

func TestIgnoredInBuilds(t *testing.T) {
	skip, err := ignored("# comment\n.git\n**/testdata/w*\n*.test\n/doc/*/draft\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		".git": true, ".git/config": true, ".gitignore": false, "testdata/w1": true, "a/b/testdata/wx/y": true, "testdata/l/w1": false,
		"x.test": true, "a/x.test": false, "doc/1/draft": true, "doc/draft": false, "main.go": false,
	} {
		if got := skip(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if _, err := ignored("!keep\n"); err == nil {
		t.Error("what is not understood was taken")
	}
}

func TestParseDockerfile(t *testing.T) {
	all, err := parseDockerfile("# c\nFROM --platform=$P a:1 AS b\n\nRUN one \\\n  # c\n  && two\nENV A=1 B=\"x y\"\n")
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	if from := all[0]; from.flags["platform"] != "$P" || from.args != "a:1 AS b" {
		t.Errorf("%+v", from)
	}
	if run := strings.Fields(all[1].args); strings.Join(run, " ") != "one && two" {
		t.Errorf("%q", run)
	}
	if names, values := assignments(all[2].args); fmt.Sprint(names, values) != "[A B] [1 x y]" {
		t.Errorf("%q %q", names, values)
	}
	for _, bad := range []string{"from x", "NONSENSE"} {
		if _, err := parseDockerfile(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
