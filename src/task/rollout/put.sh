# Puts files in the place of others, mends owners and modes of directories, and takes all of it back unless it is told to keep
# it: also when whoever tells is gone, or silent for too long. What cannot be done for one account is taken back for that one,
# and told; the others go on.
# Given: work (put, or rescue where the shell that did it is gone and all of it is taken back), token, room, undo (a program of
# awk), limit (seconds of silence), files, claims and mends (their numbers; claims are files that stay, of accounts for which
# only something else is mended), and the functions
# `file N`, which sets account (its number), directory (without links), make (directories to be made below it), name, expected
# (the sum of what is replaced, or none), seen (mode, owner and group of that), size (its bytes), length (of what it becomes),
# is_given (yes: `given N` prints what it becomes; no: that comes on standard input), mode, owner (uid:gid, or empty to leave
# it), was_mode, was_owner,
# `edits N`, which prints three lines for each line that becomes another: as it was and as it is, empty where there is none,
# and its key; lines of the same keys that stay are among them, twice the same,
# `mend N`, which sets account, path, seen, owner and mode as they should be (empty to leave it), was_owner and was_mode.
begun= mended= trouble= guard= stuck= left=' ' stands='the old file stands again'

say() { printf '\n%s %s\n' "$token" "$*"; }

# Writes what it reads in the room, as what is to take the place of the file with the owner and mode that this had.
draft() {
  rm -f "./new/$name"
  cat >"./new/$name" 2>/dev/null && settle "$was_owner" "$was_mode" >/dev/null || return
  sync "./new/$name" 2>/dev/null || sync
}

# Brings over what was appended to a file since it had so many bytes and this sum: whoever had it open still writes there.
carry() {
  [ -e "./$1/$name" ] && [ "$(sum <"./$1/$name")" != "$3" ] || return 0
  slurp "$1" && [ "$(printf %s "$content" | first "$2" | sum)" = "$3" ] || return 1
  late=$(printf %s "$content" | tail -c "+$(($2 + 1))"; echo .)
  content=
  if hold now 2>/dev/null; then slurp now || return 1; fi
  {
    printf %s "$content"
    [ -z "$content" ] || [ -z "$(printf %s "$content" | tail -c 1)" ] || echo
    printf %s "${late%.}"
  } | draft && mv -f "./new/$name" ..
}

# Puts what we hold of somebody else's beside the file.
beside() { mv -f "./theirs/$name" "./theirs/$theirs" && mv -f "./theirs/$theirs" ..; }

keep_theirs() {
  beside
  trouble="what somebody else has written meanwhile is in $here/$theirs"
}

# Takes our edits out of what somebody else has written meanwhile.
merge() {
  for again in 1 2 3; do
    now=$(current)
    case $now in none | odd) return 1 ;; esac
    # What does not fit into a variable is not text.
    slurp now && [ "$(printf %s "$content" | sum)" = "$now" ] && edits "$n" >/dev/null || return 1
    bytes=$(($(printf %s "$content" | wc -c)))
    content=$({ edits "$n"; echo "$token"; printf %s "$content"; } | awk -v token="$token" "$undo"; echo ".$?")
    ended=${content##*.}
    [ "$ended" = 0 ] || [ "$ended" = 3 ] || return 1
    printf %s "${content%.*}" | draft || return 1
    [ "$(current)" = "$now" ] || continue
    hold theirs && mv -f "./new/$name" .. || return 1
    [ -s "../$name" ] || [ "$expected" != none ] || rm -f "../$name"
    if ! { carry theirs "$bytes" "$now" && carry old "$size" "$expected"; }; then
      keep_theirs
    elif [ "$ended" != 0 ]; then
      beside
      trouble="what this run changed is taken out again; somebody else has changed or removed that line: his file is $here/$theirs"
    fi
    return 0
  done
  return 1
}

# Whether the old file is still there to be put back.
saved() { [ "$expected" = none ] || [ -f "./old/$name" ]; }

# Puts the old file back. What somebody else has written since stays, and where it cannot, it is kept beside.
restore() {
  now=$(current)
  if [ "$now" = "$written" ] && saved; then
    hold theirs 2>/dev/null
    if [ "$expected" = none ]; then rm -f "../$name"
    else back || return; fi
    carry theirs "$length" "$written" || keep_theirs
  elif [ "$now" = "$expected" ] || merge; then
    return
  elif [ "$expected" = none ]; then
    trouble="somebody else has changed the file meanwhile; it stands as it is"
  elif ! saved; then
    trouble="the old file cannot be put back: somebody else has removed it from $here/.$room.$n; what is in its place stands as it is"
  elif [ "$now" != none ] && ! hold theirs 2>/dev/null; then
    stuck=yes trouble="the old file is in $here/.$room.$n/old: something else is in its place"
  else
    [ "$now" = none ] || keep_theirs
    back
  fi
}

back() {
  why=$(mv -f "./old/$name" .. 2>&1) && return
  stuck=yes trouble="the old file is in $here/.$room.$n/old and could not be put back: $why"
  return 1
}

# Takes back what was done for an account, or for all.
take_back() {
  for number in $begun; do
    file "$number"
    eval "is_begun=\$begun_$number"
    [ "${1:-$account}" = "$account" ] && [ -n "$is_begun" ] || continue
    eval "begun_$number="
    enter "$number" || { trouble="cannot enter $directory any more"; continue; }
    if [ -n "$node" ]; then
      # Where a room is not what it was, another one does.
      go "$number" || { enter "$number" && open_room; } || { trouble="cannot enter $here any more"; continue; }
      stuck=
      if [ -n "$written" ]; then
        restore
        [ "$(current)" = "$expected" ] || stands='what this run changed is taken out again, line by line'
      fi
      [ -n "$stuck" ] || rm -f "./old/$name"
      close_room || [ -n "$trouble" ] || trouble="$here/.$room.$n cannot be removed: nothing is on trial there any more"
    fi
    unmake
  done
  for number in $mended; do
    mend "$number"
    eval "node=\$mend_$number"
    [ "${1:-$account}" = "$account" ] && [ -n "$node" ] || continue
    eval "mend_$number="
    change "$node" "$was_owner" "$was_mode" >/dev/null || trouble="$path could not be given back its owner and mode"
  done
}

# Gives an account up, and says why; the others go on.
leave() {
  left="$left$account " gone=$account reason="$kind $why"
  take_back "$gone"
  [ -z "$trouble" ] || reason="troubled ${why:+$why; }$trouble"
  trouble=
  say left "$gone" "$reason"
}

# Takes everything back and says why.
fail() {
  trap '' HUP INT TERM
  [ -z "$guard" ] || kill -USR1 "$guard" 2>/dev/null
  take_back
  set -- restored "$stands"
  [ -z "$trouble" ] || set -- troubled "$trouble"
  say "$@"
  exit 0
}

# Owner and mode of a directory: of the one of this number, and of none that was put in its place.
change() {
  (
    cd -P -- "$path" && [ "$(pwd -P)" = "$path" ] && [ "$(ls -di .)" = "$1" ] || exit 1
    [ -z "$2" ] || chown -h "$2" . || exit 1
    [ -z "$3" ] || chmod "$3" .
  ) 2>&1
}

repair() {
  kind=changed why=
  node=$(cd -P -- "$path" 2>/dev/null && [ "$(pwd -P)" = "$path" ] && [ "$(facts .)" = "$seen" ] && ls -di .) || return 1
  eval "mend_$1=\$node"
  mended="$1 $mended"
  kind=refused
  remember "$1" "$account" "$node" || { why="cannot write in $here"; return 1; }
  mend "$1"
  eval "node=\$mend_$1"
  why=$(change "$node" "$owner" "$mode")
}

# Notes in a room of the account that a directory is mended, for who may have to take that back.
remember() {
  for number in $files $claims; do
    file "$number"
    [ "$account" = "$2" ] || continue
    go "$number" && printf '%s %s\n' "$1" "$3" >>./mends
    return
  done
  return 1
}

# Opens a room, where no other run has one open that has to do with it. Of two runs that do so at once one at least sees the
# other's.
claim() {
  kind=refused
  enter "$1" || { why="cannot enter $directory"; return 1; }
  begun="$1 $begun"
  eval "begun_$1=yes"
  make && open_room || return 1
  if on_trial .. || elsewhere; then kind=busy why=; return 1; fi
}

receive() {
  kind=refused
  go "$1" || { why="cannot enter $here any more"; return 1; }
  if [ "$is_given" = yes ]; then why=$({ given "$1" | cat >"./new/$name"; } 2>&1)
  else
    say ready "$1"
    # What comes is read to its end in any case: what follows is for others.
    why=$({ first "$length" | { cat >"./new/$name" || cat >/dev/null; }; } 2>&1)
  fi
  [ -z "$why" ] || { why="cannot write in $here: ${why##*: }"; return 1; }
  [ "$(wc -c <"./new/$name")" -eq "$length" ] || { why="it did not arrive whole"; return 1; }
  why=$(settle "$owner" "$mode") || return 1
  why=$(sync "./new/$name" 2>&1) || sync
  say written "$1"
  cat "./new/$name"
}

place() {
  kind=refused
  go "$1" || { why="cannot enter $here any more"; return 1; }
  kind=changed
  if [ "$expected" = none ]; then [ "$(current)" = none ] || return 1
  elif ! why=$(hold old 2>&1); then
    [ -L "../$name" ] || [ ! -f "../$name" ] || kind=refused why="cannot give $here/$name another name: ${why##*: }"
    return 1
  else is_file old && [ "$(facts "./old/$name")" = "$seen" ] && [ "$(sum <"./old/$name")" = "$expected" ] || return 1; fi
  written=$(sum <"./new/$name")
  printf '%s\n' "$written" >./note
  eval "written_$1=\$written placed_$1=\$(inode \"./new/\$name\")"
  if [ "$expected" = none ]; then
    label "./new/$name" "$here/$name"
    # A name is made only where none is.
    if ! ln "./new/$name" .. 2>/dev/null; then
      [ "$(current)" = none ] || { eval "written_$1="; return 1; }
      why=$(mv -f "./new/$name" .. 2>&1) || { kind=refused; return 1; }
    fi
    rm -f "./new/$name"
  else
    [ -z "$selinux" ] || chcon --reference="./old/$name" "./new/$name" 2>/dev/null
    # Where only its owner or mode is mended, a file has not been written to.
    [ "$written" != "$expected" ] || touch -r "./old/$name" "./new/$name"
    # Whoever was here in the meantime has put another one there.
    [ "../$name" -ef "./old/$name" ] || [ "$(current)" = "$expected" ] || { eval "written_$1="; return 1; }
    why=$(mv -f "./new/$name" .. 2>&1) || { kind=refused; return 1; }
    # Whoever had the old one open has written there.
    [ "$(sum <"./old/$name")" = "$expected" ] || return 1
  fi
  (cd .. && sync . 2>/dev/null)
}

# Whether the old file is what it was, and the new one in its place: whoever had that open may have written there, and whoever
# began before us has put his own over ours.
is_over() {
  kind=changed why=
  go "$1" && { [ "$expected" = none ] || [ "$(sum <"./old/$name")" = "$expected" ]; } &&
    { [ "$(inode "../$name")" = "$placed" ] || [ "$(current)" = "$written" ]; }
}

# Does something for each of these, where its account is not given up.
each() {
  what=$1 step=$2
  shift 2
  for item; do
    "$what" "$item"
    case $left in *" $account "*) continue ;; esac
    "$step" "$item" || leave
  done
}

parent() { sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null || ps -o ppid= -p "$1" 2>/dev/null | tr -d ' '; }

# Shows others that the trial goes on.
touch_rooms() { for number in $files $claims; do go "$number" && touch .; done; }

# Takes over what a shell has left that was killed.
adopt() {
  for number in $files $claims; do
    file "$number"
    begun="$number $begun"
    made=0 place=$directory
    IFS=/
    set -- $make
    unset IFS
    for part; do
      place=$place/$part
      [ ! -d "$place" ] || made=$((made + 1))
    done
    eval "begun_$number=yes made_$number=$made"
    enter "$number" && is_room && case $(facts .) in "drwx------ $me "*) ;; *) false ;; esac || continue
    eval "node_$number=\$(ls -di .) written_$number=\$(cat ./note 2>/dev/null)"
    [ -f ./mends ] || continue
    while read -r item node; do
      eval "mend_$item=\$node"
      mended="$item $mended"
    done <./mends
  done
}

# Ends the trial after so long without a word. It is called off by a signal that is trapped nowhere else: one that comes before
# its trap is set is not lost.
watch() {
  (
    trap 'kill "$nap" 2>/dev/null; exit' USR1
    sleep "$limit" &
    nap=$!
    wait "$nap"
    # What has its number by now may be another process.
    self=$(exec sh -c 'echo "$PPID"')
    [ "$(parent "$self")" != "$$" ] || kill -TERM "$$"
  ) </dev/null >/dev/null 2>&1 &
  guard=$!
}

if [ "$work" = rescue ]; then
  adopt
  fail
fi
trap fail HUP INT TERM
each file claim $files $claims
each file receive $files
each mend repair $mends
each file place $files
watch
say end
while read -r answer || answer=back; do
  kill -USR1 "$guard" 2>/dev/null
  wait "$guard" 2>/dev/null
  [ "$answer" = hold ] || break
  touch_rooms
  watch
done
[ "$answer" = keep ] || fail
trap '' HUP INT TERM
guard=
each file is_over $files
for number in $files $claims; do
  file "$number"
  case $left in *" $account "*) continue ;; esac
  go "$number" && rm -f "./old/$name" && close_room
done
say kept
