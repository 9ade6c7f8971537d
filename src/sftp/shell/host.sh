# What the shell of a host is told before the first request. It comes on standard input behind two assignments,
# `secret` and `token`, and ends in a loop that takes one line of commands at a time. Every line begins with the
# secret: what a file holds can never become a command, even where the two sides lost step. Every answer ends with
# the token that its line named, which nobody can have foreseen.
#
# Only POSIX is asked for; what goes beyond it is tried once and done without. Standard input of every command is
# /dev/null or a file; lines and data come on descriptor 3, open files are on 4 to 9. Errors go to standard output,
# in front of the token. Paths never begin with a dash.

LC_ALL=C
export LC_ALL
unset CDPATH GLOBIGNORE BLOCK_SIZE LS_BLOCK_SIZE QUOTING_STYLE
mask=$(umask)
features=
newline='
'

refuse() {
    printf '%s\n' "$1"
    return 1
}

present() {
    [ -e "$1" ] || [ -L "$1" ]
}

# Not every shell says why it cannot go to a directory.
enter() {
    cd -P "$1" 2>/dev/null && return
    look "$1/." >/dev/null
    return 1
}

vacant() {
    if present "$1"; then refuse 'File exists'; fi
}

# Mode, size, owner, group, access and modification of each path, a line each.
if stat -c %f / >/dev/null 2>&1; then
    look() { stat -c '%f %s %u %g %X %Y' -- "$@"; }
    look_through() { stat -L -c '%f %s %u %g %X %Y' -- "$@"; }
elif stat -f %Xp / >/dev/null 2>&1; then
    look() { stat -f '%Xp %z %u %g %a %m' -- "$@"; }
    look_through() { stat -L -f '%Xp %z %u %g %a %m' -- "$@"; }
else
    describe() {
        follow=$1
        shift
        for name do
            line=$(ls -dn$follow "$name") || return
            if [ -L "$name" ] && [ "$follow" = l ]; then
                modified=-
            else
                modified=$(date -r "$name" +%s 2>/dev/null) || modified=-
            fi
            printf 'ls %s %s\n' "$modified" "${line%%"$newline"*}"
        done
    }
    look() { describe l "$@"; }
    look_through() { describe lL "$@"; }
fi

# Reads as many bytes from descriptor 3, neither more nor less, whatever becomes of them.
if [ "$(printf abc | dd bs=3 count=1 iflag=fullblock 2>/dev/null)" = abc ]; then
    take() { dd bs="$1" count=1 iflag=fullblock <&3; }
else
    take() { dd bs=1 count="$1" <&3 2>/dev/null | { cat || { cat >/dev/null; false; }; }; }
fi

if [ "$(printf abcdef | dd bs=64 skip=2 count=3 iflag=skip_bytes,count_bytes 2>/dev/null)" = cde ]; then
    features="$features copy"
fi

# Renames over whatever file is there. Without -T a directory there would get the file inside it.
case $(mv -fT "/$token/a" "/$token/b" 2>&1) in
    *option*|*sage:*)
        move() {
            if [ -d "$2" ]; then refuse 'Is a directory'; else mv -f "$1" "$2"; fi
        } ;;
    *) move() { mv -fT "$1" "$2"; } ;;
esac

if touch -c -h -t 200001010000.00 "/$token" 2>/dev/null; then features="$features links"; fi
if command -v sync >/dev/null 2>&1; then features="$features sync"; fi
if command -v df >/dev/null 2>&1; then features="$features space"; fi

# A file that is open on descriptor 0, by a name that nobody can exchange; elsewhere the name that it was opened by.
own=
if [ -e /proc/self/fd/0 ]; then own=/proc/self/fd/0; fi

# on DESCRIPTOR COMMAND…: runs the command with the name of the open file as its last argument.
on() {
    descriptor=$1
    shift
    eval "name=\${own:-\$path$descriptor}"
    "$@" "$name" <&"$descriptor"
}

# `path4` is what descriptor 4 was opened by, `at4` where the next write to it goes, or nothing where that is not known.
opened() {
    eval "path$1=\$2 at$1=0"
}

open_to_read() {
    if [ -p "$2" ]; then
        refuse 'Not a regular file'
        return
    fi
    eval "command exec $1<\"\$2\"" && opened "$1" "$2"
}

open_to_write() {
    if [ ! -f "$2" ]; then
        look_through "$2" >/dev/null && refuse 'Not a regular file'
        return 1
    fi
    eval "command exec $1<>\"\$2\"" && opened "$1" "$2"
}

open_new() {
    vacant "$3" || return
    umask "$2"
    set -C
    eval "command exec $1>\"\$3\""
    status=$?
    set +C
    umask "$mask"
    [ "$status" -eq 0 ] && opened "$1" "$3"
}

shut() {
    eval "command exec $1>&-"
}

# Goes to a place in an open file: anew from its beginning, because dd only goes forward.
go_to() {
    if [ -n "$own" ]; then name=/proc/self/fd/$1; else eval "name=\$path$1"; fi
    eval "command exec $1<>\"\$name\"" || return
    [ "$2" = 0 ] || dd bs=1 seek="$2" count=0 conv=notrunc >&"$1"
}

# put DESCRIPTOR FROM TO LENGTH: the data follows the line and is read whatever happens.
put() {
    eval "at=\$at$1 at$1="
    if [ "$at" = "$2" ] || go_to "$1" "$2"; then
        take "$4" >&"$1" && eval "at$1=$3"
    else
        take "$4" >/dev/null
        return 1
    fi
}

# blocks FIRST COUNT PATH: of 32 KiB each.
blocks() {
    dd if="$3" bs=32768 skip="$1" count="$2" 2>/dev/null
}

# part AT LENGTH PATH: to the end where the length is 0.
part() {
    if [ "$2" = 0 ]; then
        dd if="$3" bs=65536 skip="$1" iflag=skip_bytes
    else
        dd if="$3" bs=65536 skip="$1" count="$2" iflag=skip_bytes,count_bytes
    fi
}

# copy FROM AT LENGTH TO AT
copy() {
    eval "at$4="
    go_to "$4" "$5" && on "$1" part "$2" "$3" >&"$4"
}

resize() {
    look_through "$2" >/dev/null && dd of="$2" bs=1 seek="$1" count=0
}

mode() {
    chmod "$1" "$2"
}

# Modification, access. An old busybox sets both to one time or not at all, and nobody relies on the access.
dates() {
    look_through "$3" >/dev/null && TZ=UTC0 touch -c -t "$1" "$3" || return
    [ "$1" = "$2" ] || TZ=UTC0 touch -c -a -t "$2" "$3" 2>/dev/null || :
}

owner() {
    chown "$1" "$2"
}

group() {
    chgrp "$1" "$2"
}

link_mode() {
    if [ -L "$2" ]; then refuse 'Operation not supported'; else chmod "$1" "$2"; fi
}

link_dates() {
    look "$3" >/dev/null && TZ=UTC0 touch -c -h -t "$1" "$3" || return
    [ "$1" = "$2" ] || TZ=UTC0 touch -c -h -a -t "$2" "$3" 2>/dev/null || :
}

link_owner() {
    chown -h "$1" "$2"
}

link_group() {
    chgrp -h "$1" "$2"
}

# Brings a file to the disk, and where no program does that for one file, everything.
bring() {
    if [ -z "$brings" ]; then
        case $(sync --help 2>&1) in
            *FILE*) brings=sync ;;
            *) if command -v fsync >/dev/null 2>&1; then brings=fsync; else brings=everything; fi ;;
        esac
    fi
    case $brings in
        everything) sync ;;
        # A file that its owner may neither read nor write cannot be opened for it.
        *) if [ -r "$1" ] || [ -w "$1" ]; then "$brings" "$1"; else sync; fi ;;
    esac
}
brings=

# rename(2) does nothing where both are names of one file; some mv refuse that.
replace() {
    if [ -d "$1" ] && [ ! -L "$1" ] && [ ! -d "$2" ] && present "$2"; then
        refuse 'Not a directory'
        return
    fi
    said=$(move "$1" "$2" 2>&1) && return
    case $said in
        *' are the same file') ;;
        *) refuse "$said" ;;
    esac
}

# Not every df says why it cannot look.
space() {
    df -Pk "$1" && return
    look_through "$1" >/dev/null
    return 1
}

make() {
    umask "$1"
    mkdir "$2"
    status=$?
    umask "$mask"
    return "$status"
}

# A file gets its new name as a second one first: that never takes the place of another.
rename() {
    vacant "$2" || return
    if [ -f "$1" ] && [ ! -L "$1" ] && ln "$1" "$2" 2>/dev/null; then
        rm "$1"
    else
        vacant "$2" && move "$1" "$2"
    fi
}

link() {
    vacant "$2" && ln "$1" "$2"
}

symlink() {
    vacant "$2" && ln -s -- "$1" "$2"
}

target() {
    if [ ! -L "$1" ]; then
        look "$1" >/dev/null && refuse 'Invalid argument'
        return 1
    fi
    readlink "$1" 2>/dev/null && return
    # Some put a question mark in the place of what cannot be printed.
    line=$(ls -ld "$1" && echo x) || return
    case $line in
        *\?*) refuse 'readlink is missing' ;;
        *"$1 -> "*)
            line=${line#*"$1 -> "}
            printf '%s\n' "${line%?x}" ;;
        *) refuse 'readlink is missing' ;;
    esac
}

# The last part of the path may be a directory that cannot be entered, or not be there yet.
real() {
    if line=$(cd -P "$1" 2>/dev/null && pwd -P && echo x); then
        printf '%s' "${line%x}"
        return
    fi
    case $1 in
        */*) directory=${1%/*}/ ;;
        *) directory=. ;;
    esac
    if [ -L "$1" ]; then
        readlink -f "$1" || refuse 'No such file or directory'
    elif [ -d "$directory" ]; then
        line=$(enter "$directory" && pwd -P && echo x) && printf '%s/%s\n' "${line%?x}" "${1##*/}"
    else
        look_through "$directory" >/dev/null && refuse 'No such file or directory'
        return 1
    fi
}

# Names, each ended by NUL and the last by a second one, then what each of them is, a line each.
entries() {
    printf '%s\0' "$@"
    printf '\0'
    if lines=$(look "$@" 2>/dev/null); then
        printf '%s\n' "$lines"
    else
        for name do
            look "$name" 2>/dev/null || echo -
        done
    fi
}

# The names of one pattern, or the pattern itself where there are none.
matching() {
    [ $# -gt 1 ] || present "$1" || return 0
    while [ $# -gt 200 ]; do
        eval "entries $page"
        shift 200
    done
    entries "$@"
}

list() (
    # A pattern does not tell an empty directory from one that cannot be read.
    ls -a "$1/." >/dev/null && enter "$1" || exit 1
    page=
    count=0
    while [ "$count" -lt 200 ]; do
        count=$((count + 1))
        page="$page \"\${$count}\""
    done
    matching ./.[!.]*
    matching ./..?*
    matching ./*
    exit 0
)

serve() {
    while IFS=' ' read -r given line <&3; do
        [ "$given" = "$secret" ] || exit 1
        eval "$line" 2>&1
        printf '%s %s\n' "$token" "$?"
    done
}

printf '%s 0 %s%s\n' "$token" "$mask" "$features"
# What follows this line is for the loop.
serve 3<&0 </dev/null; exit
