package complete

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

type grammar struct {
	Config string `placeholder:"FILE"`
	Run    struct {
		Mode   string   `enum:"fast,slow,fancy" default:"fast" help:"How it runs. And more."`
		Dir    string   `placeholder:"DIR"`
		Key    string   `type:"path"`
		Join   []string `help:"Where."`
		TCP    bool     `name:"tcp" default:"true" negatable:"" help:"By TCP."`
		Secret string   `hidden:""`
		Count  int      `short:"n"`
	} `cmd:"" aliases:"go" help:"Run it. With more."`
	Say struct {
		Colour string `arg:"" enum:"red,green"`
		File   string `arg:"" type:"path" optional:""`
		Loud   bool
	} `cmd:"" help:"Say."`
	Deep struct {
		One struct{} `cmd:""`
		Two struct{} `cmd:"" hidden:""`
	} `cmd:""`
}

func model(t testing.TB) *kong.Application {
	t.Helper()
	k, err := kong.New(new(grammar), kong.Name("x"), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	return k.Model
}

func TestWords(t *testing.T) {
	app := model(t)
	for _, test := range []struct{ line, want string }{ // words separated by blanks, the last one after the last
		{"", "run say deep"},
		{"r", "run"},
		{"x", ""},
		{"--", "--help --config"},
		{"--config ", Files},
		{"--config f ", "run say deep"},
		{"--config=f s", "say"},
		{"run ", "--help --config --mode --dir --key --join --tcp --no-tcp --count"},
		{"go --m", "--mode"},
		{"run --mode ", "fast slow fancy"},
		{"run --mode fa", "fast fancy"},
		{"run --mode=fa", "--mode=fast --mode=fancy"},
		{"run --mode =", "fast slow fancy"}, // as bash cuts it
		{"run --mode = s", "slow"},
		{"run --mode slow --m", ""},
		{"run --mode=slow --m", ""},
		{"run --join a --j", "--join"},
		{"run --no-tcp --t", ""},
		{"run --tcp --mo", "--mode"},
		{"run --n", "--no-tcp"},
		{"run --secret", ""},
		{"run --unknown=", ""},
		{"run --unknown --mo", "--mode"},
		{"run --dir ", Dirs},
		{"run --key ", Files},
		{"run -n ", ""},
		{"run -n 5 --mo", "--mode"},
		{"say ", "red green"},
		{"say g", "green"},
		{"say --loud ", "red green"},
		{"say red ", Files},
		{"say red f ", ""},
		{"say -- ", "red green"},
		{"say -- --", ""},
		{"deep ", "one"},
		{"deep one ", "--help --config"},
		{"run - --mo", "--mode"},
	} {
		candidates, shell := Words(app, strings.Split(test.line, " "))
		var got []string
		for _, c := range candidates {
			got = append(got, c.Word)
		}
		if shell != "" {
			got = append(got, shell)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q: %q, want %q", test.line, got, test.want)
		}
	}
	if got, _ := Words(app, nil); len(got) != 3 || got[0] != (Candidate{"run", "Run it"}) {
		t.Errorf("nothing: %+v", got)
	}
}

// Whatever is on the line, candidates go on from its last word, and none is there twice.
func FuzzWords(f *testing.F) {
	f.Add("run --mode=f")
	f.Add("say -- --x")
	app := model(f)
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		last := words[len(words)-1]
		candidates, shell := Words(app, words)
		if shell != "" && shell != Files && shell != Dirs || shell != "" && candidates != nil {
			t.Errorf("%q: %q", line, shell)
		}
		var seen []string
		for _, c := range candidates {
			if !strings.HasPrefix(c.Word, strings.TrimPrefix(last, "=")) || slices.Contains(seen, c.Word) || strings.ContainsAny(c.Word+c.Help, "\t\n") {
				t.Errorf("%q: %+v", line, c)
			}
			seen = append(seen, c.Word)
		}
	})
}

func TestScript(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if b, err := Script(shell); err != nil || !strings.Contains(string(b), "completion words -- ") {
			t.Errorf("%s: %q, %v", shell, b, err)
		}
	}
	if _, err := Script("../../../etc/passwd"); err == nil {
		t.Error("a script of no shell")
	}
}
