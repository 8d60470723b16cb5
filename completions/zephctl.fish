# Completion of zephctl and zephserver-* for fish; printed by: zephctl completion fish

function __zephctl_complete
    set -l words (commandline -opc)
    set -l program zephctl
    if string match -q '*/*' -- $words[1]
        set program (string replace -r '[^/]*$' zephctl -- $words[1])
    end
    set -l line (commandline -cp | string collect)
    for item in ($program completion fish --answer "$line" 2>/dev/null)
        set -l field (string split \t -- $item)
        switch $field[1]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case plain
                printf '%s\t%s\n' $field[2] $field[3]
        end
    end
end

for program in zephctl zephserver-start zephserver-stop zephserver-command
    complete -c $program -e
    complete -c $program -k -f -a '(__zephctl_complete)'
end
