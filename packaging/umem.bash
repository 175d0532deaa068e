# SPDX-License-Identifier: MIT
# Completion of the umem command for bash: verbs, options and their values,
# processes that run under the library, core files.  What there is to complete
# is read off "umem --help" and "umem VERB --help", so that it is never out of
# date; needs nothing but bash.

# Processes with the library in them.
_umem_processes()
{
    local maps
    for maps in /proc/[0-9]*/maps; do
        if grep -qs 'libumem' "$maps" 2>/dev/null; then
            maps=${maps#/proc/}
            printf '%s\n' "${maps%/maps}"
        fi
    done
}

_umem_verbs()
{
    "$1" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p'
}

# Long options of a verb, those with a value with their "=".
_umem_options()
{
    "$1" "$2" --help 2>/dev/null |
        sed -n 's/^  \(-[a-zA-Z0-9], \)\{0,1\}\(--[a-z-]*\)\(\[=\)\{0,1\}\(=\{0,1\}\).*/\2\4/p'
}

# Values of an option where its help lists them: "--format=text|json", "auto, always or never".
_umem_values()
{
    "$1" "$2" --help 2>/dev/null | sed -n "s/^.*\($3\)=/\1=/p" | {
        local name value
        IFS='= ' read -r name value _
        case $value in
        *'|'*) printf '%s\n' "${value//|/$'\n'}" ;;
        WHEN) printf '%s\n' auto always never ;;
        esac
    }
}

_umem()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} option='' verb i
    local command=${COMP_WORDS[0]}

    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_umem_verbs "$command") help --help --version" \
            -- "$cur")
        return
    fi
    verb=${COMP_WORDS[1]}
    if [ "$verb" = help ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_umem_verbs "$command")" -- "$cur")
        return
    fi
    # "=" is a word of its own.
    if [ "$cur" = = ]; then
        option=$prev cur=
    elif [ "$prev" = = ]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [ -n "$option" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_umem_values "$command" "$verb" "$option")" \
            -- "$cur")
        [ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
    fi
    if [ "$verb" = run ]; then
        for ((i = 2; i < COMP_CWORD; i++)); do
            [ "${COMP_WORDS[i]}" = -- ] || continue
            # The program, then whatever it takes.
            if [ $((i + 1)) -eq "$COMP_CWORD" ]; then
                mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            fi
            return
        done
    fi
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_umem_options "$command" "$verb")" -- "$cur")
        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
        return
    fi
    mapfile -t COMPREPLY < <(
        compgen -W "$(_umem_processes)" -- "$cur"
        compgen -f -- "$cur"
    )
}

complete -o filenames -F _umem umem
