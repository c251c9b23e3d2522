# Completion of fastpubsub for fish: fastpubsub completion fish | source
function __fastpubsub_words
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l found ($before[1] completion words -- $before[2..-1] "$word" 2> /dev/null)
    switch "$found[1]"
        case :files
            __fish_complete_path (string replace -r '^--[^=]*=' '' -- "$word")
        case :dirs
            __fish_complete_directories (string replace -r '^--[^=]*=' '' -- "$word")
        case '*'
            string join \n -- $found
    end
end
complete -c fastpubsub -f -k -a '(__fastpubsub_words)'
