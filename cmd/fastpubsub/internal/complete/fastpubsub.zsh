#compdef fastpubsub
# Completion of fastpubsub for zsh: source <(fastpubsub completion zsh), after compinit; or a file _fastpubsub in a directory of $fpath.
_fastpubsub() {
  local line word
  local -a found
  for line in "${(@f)$("${words[1]/#\~/$HOME}" completion words -- "${(@)words[2,CURRENT]}" 2> /dev/null)}"; do
    case $line in
      '') ;;
      :files) _files; return ;;
      :dirs) _files -/; return ;;
      *)
        word=${line%%$'\t'*}
        found+=("${word//:/\\:}${${line#"$word"}/$'\t'/:}")
        ;;
    esac
  done
  _describe fastpubsub found
}
if [[ $funcstack[1] == _fastpubsub ]]; then _fastpubsub "$@"; else compdef _fastpubsub fastpubsub; fi
