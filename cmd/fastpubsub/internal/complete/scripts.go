package complete

import "embed"

//go:embed fastpubsub.bash fastpubsub.zsh fastpubsub.fish
var scripts embed.FS

// Script is what a shell is to read: bash, zsh or fish.
func Script(shell string) ([]byte, error) { return scripts.ReadFile("fastpubsub." + shell) }
