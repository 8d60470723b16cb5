"""The three scripts that make a shell ask `zephctl completion` what a word may become, and where they belong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = ("zephctl", "zephserver-start", "zephserver-stop", "zephserver-command")

# An answer has a line for each possibility: kind (plain, file, dir), value, help, with tabs between them. The zephctl
# that is asked is the one beside the program on the line: it knows the same commands.
BASH = r"""# Completion of zephctl and zephserver-* for bash 4.4 and newer; printed by: zephctl completion bash

_zephctl() {
    local program=${1/#\~/$HOME} line=${COMP_LINE:0:COMP_POINT} kind value
    if [[ $program == */* ]]; then program=${program%/*}/zephctl; else program=zephctl; fi
    COMPREPLY=()
    while IFS=$'\t' read -r kind value _; do
        case $kind in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <("$program" completion bash --answer "$line" --word "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]]; then compopt -o nospace; fi
}

complete -o nosort -F _zephctl PROGRAMS
"""

ZSH = r"""#compdef PROGRAMS
# Completion of zephctl and zephserver-* for zsh; printed by: zephctl completion zsh

_zephctl() {
    local program=${~words[1]} line
    local -a fields described bare
    if [[ $program == */* ]]; then program=${program:h}/zephctl; else program=zephctl; fi
    for line in "${(@f)$("$program" completion zsh --answer "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}"; do
        fields=("${(@ps:\t:)line}")
        case $fields[1] in
            file) [[ $PREFIX == --*=* ]] && compset -P '*='; _files ;;
            dir) [[ $PREFIX == --*=* ]] && compset -P '*='; _files -/ ;;
            plain)
                if [[ -n $fields[3] ]]; then
                    described+=("${fields[2]//:/\\:}:$fields[3]")
                else
                    bare+=("$fields[2]")
                fi ;;
        esac
    done
    (( $#described )) && _describe -V 'zephctl' described
    (( $#bare )) && compadd -V names -- "${bare[@]}"
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _zephctl "$@"
else
    compdef _zephctl PROGRAMS
fi
"""

FISH = r"""# Completion of zephctl and zephserver-* for fish; printed by: zephctl completion fish

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

for program in PROGRAMS
    complete -c $program -e
    complete -c $program -k -f -a '(__zephctl_complete)'
end
"""

SCRIPTS = {shell: text.replace("PROGRAMS", " ".join(PROGRAMS)) for shell, text in
           {"bash": BASH, "zsh": ZSH, "fish": FISH}.items()}  # fmt: skip
FILES = {"bash": "zephctl.bash", "zsh": "_zephctl", "fish": "zephctl.fish"}  # their names in completions/


def places(shell: str, environment: Mapping[str, str]) -> list[Path]:
    """The files in which a user's *shell* looks for the script, the first of them the script itself.

    bash and fish look for a file named as the command, so each command has its own.
    """
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local/share")
    if shell == "zsh":
        return [data / "zsh/site-functions/_zephctl"]
    if shell == "bash":
        folder = Path(environment.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion") / "completions"
        return [folder / program for program in PROGRAMS]
    folder = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions"
    return [folder / f"{program}.fish" for program in PROGRAMS]


def advice(shell: str, script: Path) -> str:
    """What a person does next."""
    match shell:
        case "zsh":
            return f"put this into ~/.zshrc, above compinit, and open a new shell: fpath=({script.parent} $fpath)"
        case "bash":
            return f"open a new shell; without the package bash-completion put this into ~/.bashrc: . {script}"
    return "it works in the next shell"
