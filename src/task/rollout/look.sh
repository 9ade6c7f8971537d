# Tells which files sshd reads the keys of accounts from, what stands in its way, and what is in them.
# Given: token, self (yes: the account that this runs as), everyone (yes: all that may have keys), dropbear (yes), and the accounts as arguments.
set -f
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
me=$(id -u)

say() { printf '\n%s %s\n' "$token" "$*"; }

if command -v sha256sum >/dev/null 2>&1; then sum() { sha256sum; }
elif command -v md5sum >/dev/null 2>&1; then sum() { md5sum; }
else sum() { cksum; }
fi

entry() {
  getent passwd "$1" 2>/dev/null && return
  while IFS= read -r line; do
    case $line in "$1":*) printf '%s\n' "$line"; return ;; esac
  done </etc/passwd
}

# The configuration of the sshd that serves this session, with the options (a line each) that it was started with, and where
# the session comes from: sudo takes the variable away.
config=/etc/ssh/sshd_config options= from=$SSH_CONNECTION process=$$
while [ "${process:-0}" -gt 1 ] && [ -r "/proc/$process/cmdline" ]; do
  line=$(tr '\000' ' ' <"/proc/$process/cmdline")
  case ${line%% *} in
    sshd: | sshd | */sshd)
      case $line in
        *' -f'* | *' -o'*)
          mode=
          for word in $line; do
            case $word in
              -f) mode=f ;;
              -f?*) config=${word#-f} mode= ;;
              -o) mode=o ;;
              -o?*) options="$options
${word#-o}" mode=more ;;
              -* | '[listener]') mode= ;;
              *)
                case $mode in
                  f) config=$word mode= ;;
                  o) options="$options
$word" mode=more ;;
                  more) options="$options $word" ;;
                esac
                ;;
            esac
          done
          break
          ;;
      esac
      ;;
  esac
  [ -n "$from" ] || from=$(tr '\000' '\n' <"/proc/$process/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
  process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status" 2>/dev/null)
done

effective() {
  [ "$me" = 0 ] || return 1
  sshd=$(command -v sshd) || return 1
  user=$1
  set -- $from
  who="user=$user,host=${1:-127.0.0.1},addr=${1:-127.0.0.1},laddr=${3:-127.0.0.1},lport=${4:-22}"
  set -- -T -f "$config" -C "$who"
  IFS='
'
  for option in $options; do set -- "$@" -o "$option"; done
  unset IFS
  "$sshd" "$@" 2>/dev/null
}

# Whether what a pattern means can be seen: what stands in a directory that is closed to us is hidden.
open() (
  above=${1%/*}
  [ -z "$above" ] || open "$above" || exit
  set +f
  for directory in ${above:-/}; do
    if [ ! -d "$directory" ]; then
      # Behind a link that leads nowhere may be what we cannot see.
      [ ! -L "$directory" ] || exit 1
      continue
    fi
    [ -x "$directory" ] || exit 1
    case ${1##*/} in *[*?[]*) [ -r "$directory" ] || exit 1 ;; esac
  done
)

# What a configuration says about keys, line by line as `sshd -T` would, with what it includes in its place, as sshd does it:
# the first value is the one that counts. `ambiguous yes` where something holds for some sessions only, or is closed to us.
depth=0 matched=
read_from() { if [ -r "$1" ]; then lines <"$1"; else echo ambiguous yes; fi; }
lines() (
  set -f
  depth=$((depth + 1))
  [ "$depth" -le 16 ] || exit
  grep -i -E '^[[:space:]]*(authorizedkeysfile|strictmodes|match|include)[[:space:]="]' |
    sed 's/^[[:space:]]*\([[:alpha:]]*\)[[:space:]=]*/\1 /' | while read -r key value; do
      case $key in
        [Mm]*) matched=yes && echo matched yes ;;
        [Ii]*) include ;;
        [Aa]*) if [ -n "$matched" ]; then echo ambiguous yes; else printf 'authorizedkeysfile %s\n' "$value"; fi ;;
        [Ss]*) [ -n "$matched" ] || printf 'strictmodes %s\n' "$value" ;;
      esac
    done | sed 's/"//g'
)

include() {
  # Blanks that are part of a name are not worth their rules here.
  case $value in *\"*[[:blank:]]*\"*) echo ambiguous yes; return ;; esac
  for pattern in $value; do
    pattern=${pattern#\"} pattern=${pattern%\"}
    case $pattern in /*) ;; *) pattern=/etc/ssh/$pattern ;; esac
    open "$pattern" || echo ambiguous yes
    set +f
    for included in $pattern; do
      if [ -e "$included" ] || [ -L "$included" ]; then read_from "$included"; fi
    done
    set -f
  done
}

# What can be read of it by somebody who may not ask sshd. What sshd was started with comes first.
plain() {
  printf '%s\n' "$options" | lines
  read_from "$config"
}

setting() { printf '%s\n' "$settings" | sed -n "s/^$1 //p" | sed 1q; }

expanded() {
  path= rest=$1
  while [ -n "$rest" ]; do
    case $rest in
      %%*) path=$path% rest=${rest#??} ;;
      %h*) path=$path$home rest=${rest#??} ;;
      %u*) path=$path$user rest=${rest#??} ;;
      %U*) path=$path$uid rest=${rest#??} ;;
      *) behind=${rest#?} path=$path${rest%"$behind"} rest=$behind ;;
    esac
  done
  case $path in /*) ;; *) path=$home/$path ;; esac
}

# Kind, permissions and owner of a path; with -L, of what it leads to.
facts() { ls -ldn ${2-} -- "$1" 2>/dev/null | { read -r mode links owner group rest; printf '%s %s %s' "$mode" "$owner" "$group"; }; }

if head -c 1 </dev/null >/dev/null 2>&1; then first() { head -c "$1"; }
else first() { dd bs=65536 count="$(($1 / 65536 + 1))" 2>/dev/null; }
fi

# Reads a file, which may grow: no more of it than is expected, and nothing of another's that somebody has put there meanwhile.
contents() (
  exec <"$real/$name" || exit
  [ ! -e /proc/self/fd/0 ] || [ "$(facts /proc/self/fd/0 -L)" = "$seen" ] || exit
  first "$((size + small))"
) 2>/dev/null

# What a file of keys may have; what all of them may have together, but for small ones; and those that were told.
most=4194304 small=65536 spare=33554432 told=

content() {
  size=$(ls -ldn -- "$real/$name" 2>/dev/null | { read -r mode links owner group size rest; echo "${size:-0}"; })
  if [ "$size" -gt "$small" ]; then
    # One file may be read for all.
    case "$told/" in */"$real/$name"//*) say as "$real/$name"; return ;; esac
    if [ "$size" -gt "$most" ]; then say large "$size"; return; fi
    if [ "$size" -gt "$spare" ]; then say crowded "$size"; return; fi
    told="$told/$real/$name/"
  fi
  # One that is written to meanwhile is read again.
  for again in 1 2 3; do
    spare=$((spare - size)) seen=$(facts "$real/$name")
    before=$(contents | sum)
    say content "$before"
    contents
    after=$(contents | sum)
    say end "$after"
    [ "$before" != "$after" ] || return
  done
}

file() {
  say file "$1"
  place=$1
  if [ -L "$place" ]; then
    place=$(readlink -f -- "$place" 2>/dev/null) || place=
    say link "$place"
    [ -n "$place" ] || return
  fi
  directory=${place%/*} name=${place##*/} make=
  while [ -n "$directory" ] && [ ! -d "$directory" ] && [ ! -L "$directory" ]; do
    make=${directory##*/}${make:+/$make}
    directory=${directory%/*}
  done
  real=$(cd -P -- "${directory:-/}" 2>/dev/null && pwd -P) || { say closed "$directory"; return; }
  say place "$real"
  say name "$name"
  say make "$make"
  if [ -z "$make" ] && [ -e "$real/$name" ]; then
    say at "$(facts "$real/$name") $real/$name"
  fi
  above=$real
  while :; do
    say at "$(facts "$above") $above"
    [ "$above" != "$real_home" ] && [ "$above" != / ] || break
    above=${above%/*}
    above=${above:-/}
  done
  # To root, only what is read-only is closed.
  if [ ! -w "$real" ] || { [ "$me" = 0 ] && [ -z "$make" ] && [ -e "$real/$name" ] && [ ! -w "$real/$name" ]; }; then say sealed; fi
  [ -z "$make" ] && [ -e "$real/$name" ] || return
  if [ ! -f "$real/$name" ]; then say odd; return; fi
  if [ ! -r "$real/$name" ]; then say closed "$real/$name"; return; fi
  written=$(date -u -r "$real/$name" +%Y-%m-%dT%H:%M:%SZ 2>/dev/null) ||
    written=$(TZ=UTC0 stat -f %Sm -t %Y-%m-%dT%H:%M:%SZ "$real/$name" 2>/dev/null) || written=
  say written "$written"
  content
}

account() {
  user=$1
  line=$(entry "$user" | sed 1q)
  if [ -n "$line" ]; then
    rest=${line#*:*:}
    uid=${rest%%:*} rest=${rest#*:}
    gid=${rest%%:*} rest=${rest#*:*:}
    home=${rest%%:*}
  elif [ "$self" = yes ]; then
    uid=$me gid=$(id -g) home=$HOME
  else
    say account "$user"
    say unknown
    return
  fi
  if [ "$dropbear" = yes ]; then
    if [ "$uid" = 0 ] && [ -d /etc/dropbear ] && [ -e /etc/openwrt_release ]; then files=/etc/dropbear/authorized_keys
    else files=.ssh/authorized_keys; fi
    assumed= strict=
  elif [ "$me" != 0 ] && [ "$me" != "$uid" ]; then
    files=
  else
    if [ "$same" != yes ] || [ -z "$settings" ]; then settings=$(effective "$user") || settings=$(plain); fi
    assumed=$(setting ambiguous)
    [ -z "$assumed" ] || settings=
    strict=$(setting strictmodes)
    files=$(setting authorizedkeysfile)
    files=${files:-.ssh/authorized_keys .ssh/authorized_keys2}
  fi
  # Services without a home have no keys below it.
  if [ "$everyone" = yes ]; then
    case $home in
      '' | / | /nonexistent | /dev/null | /var/empty)
        case " $files" in *' /'*) ;; *) return ;; esac
        ;;
    esac
  fi
  real_home=$(cd -P -- "$home" 2>/dev/null && pwd -P)
  say account "$user"
  say uid "$uid"
  say gid "$gid"
  say home "$real_home"
  say named "$home"
  if [ "$me" != 0 ] && [ "$me" != "$uid" ]; then say forbidden; return; fi
  [ -z "$assumed" ] || say assumed
  say strict "$strict"
  for one in $files; do
    if [ "$one" = none ]; then say none; continue; fi
    expanded "$one"
    file "$path"
  done
}

# Without a Match, the settings are the same for all accounts, and sshd need not be asked about each.
same=no settings=
if [ "$everyone" = yes ]; then
  plain | grep -E '^(matched|ambiguous)' >/dev/null || same=yes
fi

say me "$me"
say clock "$(date +%Y%m%d%H%M%S) $(date -u +%Y%m%d%H%M%S)"
if [ "$everyone" = yes ]; then
  { getent passwd 2>/dev/null || cat /etc/passwd; } | while IFS=: read -r name rest; do account "$name"; done
else
  [ "$self" != yes ] || set -- "$(id -un)"
  for name; do account "$name"; done
fi
say done
