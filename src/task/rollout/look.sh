# Tells which files sshd reads the keys of accounts from, what stands in its way, and what is in them.
# Given: token, patience (seconds that other runs are waited for; 0: they are not looked for), self (yes: the account that this runs as), everyone (yes: all that may have keys), dropbear (yes), and the accounts as arguments.
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

# What is known of an account, by its name.
entry() {
  getent passwd "$1" 2>/dev/null && return
  while IFS= read -r line; do
    case $line in "$1":*) printf '%s\n' "$line"; return ;; esac
  done </etc/passwd
}

# The name of the account with a number. A directory service may list none of its own, and knows each.
name_of() {
  { getent passwd "$1" 2>/dev/null || cat /etc/passwd; } | while IFS=: read -r who x number rest; do
    [ "$number" != "$1" ] || { printf '%s\n' "$who"; break; }
  done
}

# What a process was called with, and who started it.
called() { if [ -r "/proc/$1/cmdline" ]; then tr '\000' ' ' <"/proc/$1/cmdline"; else ps -o args= -p "$1"; fi 2>/dev/null; }
parent() { sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null || ps -o ppid= -p "$1" 2>/dev/null | tr -d ' '; }

# What sshd was started with: its program, its configuration (nothing: its own default), and options, a line each.
started() {
  mode=
  for word; do
    # Letters without a value may come before one with a value.
    while :; do case $word in -[46DGQRTVdeiqrt]?*) word=-${word#??} ;; *) break ;; esac; done
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
  # Another program has another default, and a relative path is one from where it was started.
  case $config in
    /*) known=yes ;;
    '') case $program in /usr/sbin/sshd | /sbin/sshd | /usr/bin/sshd | /bin/sshd) known=yes ;; esac ;;
  esac
}

# The sshd that serves this session, which may be hidden from us (`known` is yes where it is seen), and where the session comes
# from: sudo takes the variable away.
config= options= known= program= from=$SSH_CONNECTION process=$$
while [ "${process:-0}" -gt 0 ]; do
  line=$(called "$process")
  case $line in
    'sshd: /'*'[listener]'*) line=${line#sshd: } ;;
    # Who is logged in, and the processes of such a session.
    sshd:* | '') line= ;;
  esac
  case ${line%% *} in
    sshd | */sshd)
      program=${line%% *}
      started ${line#* }
      break
      ;;
  esac
  [ -n "$from" ] || from=$({ tr '\000' '\n' <"/proc/$process/environ"; } 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
  process=$(parent "$process")
done

effective() {
  [ "$me" = 0 ] || return 1
  # Another sshd than the usual one may have another default.
  case $program in
    /*) sshd=$program && [ -x "$sshd" ] || return 1 ;;
    *) sshd=$(command -v sshd) || return 1 ;;
  esac
  user=$1
  set -- $from
  who="user=$user,host=${1:-127.0.0.1},addr=${1:-127.0.0.1},laddr=${3:-127.0.0.1},lport=${4:-22}"
  set -- -T -C "$who"
  [ -z "$config" ] || set -- "$@" -f "$config"
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

# Whether a value means here what it means to sshd: words, each as it is or in a pair of double quotes.
is_plain() {
  for word in $1; do
    case $word in \"*\") word=${word#?} word=${word%?} ;; esac
    case $word in '' | *[\"\'\\#^]*) return 1 ;; esac
  done
}

# Whether a Match asks for nothing but who logs in.
is_by_account() {
  IFS=' ='
  set -- $1
  unset IFS
  while [ $# -gt 0 ]; do
    case $1 in
      [Uu][Ss][Ee][Rr] | [Gg][Rr][Oo][Uu][Pp]) shift && [ $# -gt 0 ] || break ;;
      [Aa][Ll][Ll]) ;;
      *) return 1 ;;
    esac
    shift
  done
}

# What a configuration says about keys, line by line as `sshd -T` would, with what it includes in its place, as sshd does it:
# the first value is the one that counts. `ambiguous yes` where something holds for some sessions only, is closed to us, or is
# written in a way that we do not read as sshd does; `elsewhere` with files that are read for some clients only, `spared yes` where
# there are none for some clients, and `command`.
depth=0 matched=
read_from() { if [ -r "$1" ]; then lines <"$1"; else echo ambiguous yes; fi; }
lines() (
  set -f
  outer=$matched depth=$((depth + 1))
  [ "$depth" -le 16 ] || exit
  # Blanks at the end mean nothing; other characters that cannot be seen are none that we know. A keyword may have quotes.
  sed -e 's/[[:space:]]*$//' -e 's/[[:blank:]]/ /g' -e 's/[[:cntrl:]]/\\/g' |
    grep -i -E '^ *(=|[^ =#]*["\]|(authorizedkeys(file|command)|strictmodes|match|include)[ =])' |
    sed -e 's/^ *\([[:alpha:]][[:alpha:]]*\) *= */\1 /' -e 's/^  *//' | while read -r key value; do
      case $key in
        *[!A-Za-z]*) echo ambiguous yes ;;
        [Mm]*)
          if is_by_account "$value"; then matched=${outer:-account}; else matched=client; fi
          echo matched yes
          ;;
        [Aa]*[Dd]) printf 'command %s\n' "$value" ;;
        *)
          is_plain "$value" && [ "${value#=}" = "$value" ] || {
            echo ambiguous yes
            # `sshd -T` leaves the quotes out, and so does not tell where a name ends.
            case $key$value in [Aa]*[\"\'\\]*' '*) echo blank yes ;; esac
            continue
          }
          case $key$matched in
            [Ii]*) include ;;
            [Aa]*client)
              case $value in
                [Nn][Oo][Nn][Ee]) echo spared yes ;;
                *) printf 'ambiguous yes\nelsewhere %s\n' "$value" ;;
              esac
              ;;
            *client | *account) echo ambiguous yes ;;
            [Aa]*) printf 'authorizedkeysfile %s\n' "$value" ;;
            [Ss]*) printf 'strictmodes %s\n' "$value" ;;
          esac
          ;;
      esac
    done | sed 's/"//g'
)

include() {
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

# What can be read of it. What sshd was started with comes first.
plain() {
  printf '%s\n' "$options" | lines
  read_from "${config:-/etc/ssh/sshd_config}"
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

# Looks for a run that has files of a directory on trial: what they hold may be taken back. One of root's or of our own ends by
# itself; anybody else's is waited for, and no more. A room that nobody has touched for minutes was left by a run that was cut off.
look_for_trial() {
  trial=
  set +f
  set -- "$1"/.bugle-*.[0-9]*
  set -f
  for room; do
    [ "$patience" != 0 ] && [ -d "$room" ] && [ ! -L "$room" ] || continue
    case $(facts "$room") in
      *" 0 "* | *" $me "*) ;;
      *) [ "$waited" -lt "$patience" ] || continue ;;
    esac
    if [ -n "$(find "$room" -prune -mmin +4 2>/dev/null)" ]; then say cut "$room"; else trial=$room; fi
  done
}

# Waits until nobody has files of a directory on trial.
await_trial() {
  look_for_trial "$1"
  while [ -n "$trial" ] && [ "$waited" -lt "$patience" ]; do
    waited=$((waited + 1))
    sleep 1
    look_for_trial "$1"
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
  if is_twin; then say twin; return; fi
  places="$places
$real//$make//$name"
  say place "$real"
  say name "$name"
  say make "$make"
  await_trial "$real"
  if [ -n "$trial" ]; then say busy "$trial"; return; fi
  if [ -z "$make" ] && [ -e "$real/$name" ]; then
    part "$real/$name"
  fi
  above=$real
  while :; do
    part "$above"
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
  while :; do
    content
    # What was read while a trial began is read again.
    [ -z "$trial" ] && look_for_trial "$real"
    [ -n "$trial" ] && [ "$waited" -lt "$patience" ] || break
    await_trial "$real"
  done
  [ -z "$trial" ] || say busy "$trial"
}

# Whose a path is and who may do what, and the account where it is another's.
part() {
  set -- "$1" $(facts "$1")
  say at "$2 $3 $4 $1"
  case $3 in 0 | "$uid") return ;; esac
  who=$(name_of "$3")
  [ -z "$who" ] || say theirs "$who:$1"
}

# Whether a file has been told by another name: links and mounts give it several.
is_twin() (
  IFS='
'
  for other in $places; do
    [ "${other#*//}" = "$make//$name" ] || continue
    [ "${other%%//*}" != "$real" ] && [ ! "${other%%//*}/." -ef "$real/." ] || exit 0
  done
  exit 1
)

# Whether a file of an account is there, or may be.
may_have_keys() {
  for one in $files; do
    [ "$one" != none ] || continue
    expanded "$one"
    if [ -e "$path" ] || [ -L "$path" ] || ! open "$path"; then return; fi
  done
  return 1
}

# What sshd says of an account, or its configuration, and why that is a guess.
ask() {
  assumed=
  if settings=$(effective "$user"); then
    # The usual sshd may be another than the one that serves us; that one, by its whole name, tells its own default.
    [ -n "$known" ] || case $program in /*) [ -z "$config" ] ;; *) false ;; esac || assumed=unseen
  elif [ "$me" = 0 ]; then settings=$configured assumed=mute
  else settings=$assumption$configured; fi
  # It may be us for whom it reads none, and others for whom it reads some.
  case $(setting authorizedkeysfile):$configured in
    none:*'spared yes'*)
      settings=$configured
      [ -z "$(setting ambiguous)" ] || assumed=spared
      ;;
  esac
  case $configured in *'blank yes'*) assumed=blank ;; *) [ -z "$(setting ambiguous)" ] || assumed=${assumed:-closed} ;; esac
  case $assumed in blank | closed | spared) settings= ;; esac
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
    if [ "$same" != yes ] || [ -z "$settings" ]; then ask; fi
    strict=$(setting strictmodes)
    files=$(setting authorizedkeysfile)
    files=${files:-.ssh/authorized_keys .ssh/authorized_keys2}
  fi
  # Services have no home of their own, and few have keys all the same.
  if [ "$everyone" = yes ]; then
    case $home in '' | / | /nonexistent | /dev/null | /var/empty) may_have_keys || return ;; esac
  fi
  real_home=$([ -n "$home" ] && cd -P -- "$home" 2>/dev/null && pwd -P)
  say account "$user"
  say uid "$uid"
  say gid "$gid"
  say home "$real_home"
  say named "$home"
  if [ "$me" != 0 ] && [ "$me" != "$uid" ]; then say forbidden; return; fi
  [ -z "$assumed" ] || say assumed "$assumed"
  say strict "$strict"
  places=
  for one in $files; do
    if [ "$one" = none ]; then say none; continue; fi
    expanded "$one"
    file "$path"
  done
}

# Homes with keys that are those of no account in the list: a directory service knows its accounts by name and may list none.
unlisted() {
  {
    # Each is there twice at least, and no other is.
    printf '%s\n%s\n' "$list" "$list" | cut -d: -f6 | sed 's,/*$,,'
    set +f
    for file in /home/*/.ssh/authorized_keys /home/*/.ssh/authorized_keys2; do
      [ ! -e "$file" ] || printf '%s\n' "${file%/.ssh/*}"
    done | sort -u
  } | sort | uniq -u | while IFS= read -r place; do
    [ -d "$place/.ssh" ] || continue
    name=${place##*/}
    case $(entry "$name") in
      *:"$place":*) ;;
      *) name=$(ls -ld -- "$place" | { read -r mode links owner rest; printf '%s\n' "$owner"; }) ;;
    esac
    case "
$list" in *"
$name:"*) continue ;; esac
    if [ -n "$(entry "$name")" ]; then account "$name"; else say stray "$place"; fi
  done
}

say me "$me"
say clock "$(date +%Y%m%d%H%M%S) $(date -u +%Y%m%d%H%M%S)"
same=no settings= configured= waited=0
# Where the sshd that serves us is not seen, it may read another configuration.
assumption=
[ -n "$known" ] || assumption='ambiguous yes
'
if [ "$dropbear" != yes ]; then
  configured=$(plain)
  # Without a Match, the settings are the same for all accounts, and sshd need not be asked about each.
  case $configured in *'matched yes'* | *'ambiguous yes'*) ;; *) same=yes ;; esac
  seen=0
  printf '%s\n' "$configured" | sort -u | {
    while read -r key value; do
      case $key$value in
        command[Nn][Oo][Nn][Ee]) continue ;;
        command*) ;;
        elsewhere*) seen=$((seen + 1)) ;;
        *) continue ;;
      esac
      # A few tell what they all are.
      [ "$seen" -gt 3 ] || say "$key" "$value"
    done
    [ "$seen" -le 3 ] || say elsewhere "$((seen - 3)) more"
  }
fi
if [ "$everyone" = yes ]; then
  list=$(getent passwd 2>/dev/null || cat /etc/passwd)
  printf '%s\n' "$list" | while IFS=: read -r name rest; do account "$name"; done
  [ "$me" != 0 ] || unlisted
else
  [ "$self" != yes ] || set -- "$(id -un)"
  for name; do account "$name"; done
fi
say done
