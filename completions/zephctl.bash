# Completion of zephctl and zephserver-* for bash 4.4 and newer; printed by: zephctl completion bash

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

complete -o nosort -F _zephctl zephctl zephserver-start zephserver-stop zephserver-command
