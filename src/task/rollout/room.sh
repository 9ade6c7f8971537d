# How root changes a file in a directory that is another's. Who may write there can put a link, or another name of any file, in
# the place of every name at any moment. So nothing is read, written, given away or opened up by a name of his: that is done in
# a room, a directory beside the file that is ours and closed to everybody else, where names mean what we made them mean.
# Between the two, names move and nothing is followed: `ln` and `mv` are told the directory that a name goes to (`..`,
# `./old/`) and never the new name, which may be a link to another directory by then. Nobody else can take a room away, since
# it is not empty, nor to another directory, since that takes the right to write in it. It is known again by its number.
# A directory of his is changed as the one that we stand in (`.`), once that is seen to be the one that is meant.
# Given: room, what the names of rooms begin with, wary (yes: rooms of all users count), and the function `elsewhere`, which asks
# on_trial about each other directory of a file that lets in who is let in here.
set -f
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
umask 077
trap '' PIPE
me=$(id -u)
selinux=
[ ! -e /sys/fs/selinux/enforce ] || selinux=yes

if command -v sha256sum >/dev/null 2>&1; then sum() { sha256sum; }
elif command -v md5sum >/dev/null 2>&1; then sum() { md5sum; }
else sum() { cksum; }
fi
if head -c 1 </dev/null >/dev/null 2>&1; then first() { head -c "$1"; }
else first() { dd bs=1 count="$1" 2>/dev/null; }
fi

# Mode, owner and group.
facts() {
  ls -ldn -- "$1" 2>/dev/null | { read -r bits links uid gid rest && printf '%s %s %s' "${bits%[.+@]}" "$uid" "$gid"; }
}

inode() { ls -di -- "$1" 2>/dev/null | { read -r inode rest && printf %s "$inode"; }; }

# Goes to where a file is, or as far as directories were made for it.
enter() {
  n=$1
  file "$n"
  theirs=$name.$room
  eval "made=\${made_$n:-0} written=\${written_$n-} placed=\${placed_$n-} node=\${node_$n-}"
  cd -P -- "$directory" 2>/dev/null && [ "$(pwd -P)" = "$directory" ] || return 1
  inside=0 here=${directory%/}
  IFS=/
  set -- $make
  unset IFS
  for part; do
    [ "$inside" -lt "$made" ] || return 0
    descend || return 1
  done
}

descend() {
  here=$here/$part inside=$((inside + 1))
  cd -P "./$part" 2>/dev/null && [ "$(pwd -P)" = "$here" ]
}

# Whether the directory that we stand in may be the one that we have just made.
is_new() {
  [ -z "$(ls -A . 2>&1)" ] || return 1
  set -- $(facts .)
  [ "${2-}" = "$me" ]
}

# Makes the directories that are missing, the user's own.
make() {
  IFS=/
  set -- $make
  unset IFS
  for part; do
    if ! why=$(mkdir "./$part" 2>&1); then
      # Somebody else may have made it meanwhile.
      [ ! -d "./$part" ] || kind=changed
      why="cannot make $part in $here: ${why##*: }"
      return 1
    fi
    made=$((made + 1))
    eval "made_$n=$made"
    why="cannot enter $here/$part"
    descend && is_new && chmod 700 . || return 1
    why=$([ -z "$owner" ] || chown -h "$owner" . 2>&1) || { why="cannot give $part to its user: ${why##*: }"; return 1; }
    label . "$here"
  done
}

unmake() {
  while [ "$made" -gt 0 ]; do
    empty=$(pwd -P)
    cd .. && rmdir "./${empty##*/}" 2>/dev/null || return
    made=$((made - 1))
  done
}

# Whether another run has files of a directory on trial: one of root's or of the same user, since others are not to hold root up
# for good. A room that nobody has touched for minutes is of a run that was cut off.
on_trial() {
  set +f
  set -- "$1"/.bugle-*.[0-9]*
  set -f
  for other; do
    case ${other##*/} in ".$room."*) continue ;; esac
    [ -d "$other" ] && [ ! -L "$other" ] && [ -z "$(find "$other" -prune -mmin +4 2>/dev/null)" ] || continue
    [ "$wary" = no ] || return 0
    case $(facts "$other") in *" 0 "* | *" $me "*) return ;; esac
  done
  return 1
}

open_room() {
  why=$(mkdir "./.$room.$n" 2>&1) || { why="cannot write in $here: ${why##*: }"; return 1; }
  why="cannot enter $here/.$room.$n"
  is_room && is_new && chmod 700 . && is_new || return 1
  node=$(ls -di .)
  eval "node_$n=\$node"
  why=$(mkdir ./new ./old ./now ./theirs 2>&1) || { why="cannot write in $here: ${why##*: }"; return 1; }
}

is_room() { cd -P "./.$room.$n" 2>/dev/null && [ "$(pwd -P)" = "$here/.$room.$n" ]; }

# Goes into the room of a file.
go() { enter "$1" && [ -n "$node" ] && is_room && [ "$(ls -di .)" = "$node" ]; }

close_room() {
  rm -f "./new/$name" "./now/$name" "./theirs/$name"
  rm -f ./note ./mends
  rmdir ./new ./old ./now ./theirs 2>/dev/null
  cd .. && rmdir "./.$room.$n" 2>/dev/null
}

# Takes hold of what stands under the name now: it gets another one, in this part of the room.
hold() {
  rm -f "./$1/$name"
  ln -P "../$name" "./$1/" 2>/dev/null || ln "../$name" "./$1/" ||
    { [ "$me" != 0 ] && [ ! -L "../$name" ] && [ -f "../$name" ] && cp -p "../$name" "./$1/"; }
}

is_file() { [ -f "./$1/$name" ] && [ ! -L "./$1/$name" ]; }

# What stands under the name: its sum, or what it is.
current() {
  if hold now 2>/dev/null; then
    if is_file now; then sum <"./now/$name"; else echo odd; fi
  elif [ -e "../$name" ] || [ -L "../$name" ]; then echo odd
  else echo none; fi
}

# Reads into $content what we have taken hold of. Where somebody else names files, root reads only what is his: it may be another
# name of a file that he must not read, and what is read is written to a file of his.
slurp() {
  is_file "$1" || return 1
  if [ "$me" = 0 ]; then
    place=$(facts ..)
    case $place in
      d????-??-?' 0 '*) ;;
      *)
        set -- "$1" $(facts "./$1/$name") $place
        [ "$3" = "$6" ] || return 1
        ;;
    esac
  fi
  content=$(cat "./$1/$name" && echo .) 2>/dev/null || return
  content=${content%.}
}

settle() {
  if [ -n "$1" ]; then chown -h "$1" "./new/$name" 2>&1 || return; fi
  chmod "$2" "./new/$name" 2>&1
}

# Gives something that we hold the SELinux context of another path.
label() {
  [ -n "$selinux" ] || return 0
  context=$(matchpathcon -n "$2" 2>/dev/null) && chcon -h "$context" "$1" 2>/dev/null
  return 0
}
