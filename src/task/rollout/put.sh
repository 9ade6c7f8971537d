# Puts files in the place of others, mends owners and modes, and takes all of it back unless it is told to keep it: also
# when whoever tells is gone, or silent for too long.
# Given: token, limit (seconds of silence), files and mends (their numbers), and the functions
# `file N`, which sets directory (without links), make (directories to be made below it), name, expected (the sum of what is
# replaced, or none), size (its bytes), length (of what comes on standard input), mode, owner (uid:gid, or empty to leave it),
# `edits N`, which prints three lines for each line that becomes another: as it was and as it is, empty where there is none,
# and its key in base64; lines of the same keys that stay are among them, twice the same,
# `mend N`, which sets path, owner and mode as they should be (empty to leave it), and was_owner and was_mode.
set -f
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
umask 077
trap '' PIPE
begun= mended= trouble= guard= stands='the old file stands again'

say() { printf '\n%s %s\n' "$token" "$*"; }

if command -v sha256sum >/dev/null 2>&1; then sum() { sha256sum; }
elif command -v md5sum >/dev/null 2>&1; then sum() { md5sum; }
else sum() { cksum; }
fi
if head -c 1 </dev/null >/dev/null 2>&1; then first() { head -c "$1"; }
else first() { dd bs=1 count="$1" 2>/dev/null; }
fi
selinux=
[ ! -e /sys/fs/selinux/enforce ] || selinux=yes

current() {
  if [ -L "./$name" ]; then echo link
  elif [ -f "./$name" ]; then sum <"./$name"
  elif [ -e "./$name" ]; then echo odd
  else echo none; fi
}

# Goes to where a file is, or as far as directories were made for it.
enter() {
  n=$1
  file "$n"
  new=.$token.$n.new old=.$token.$n.old theirs=$name.$token
  eval "made=\${made_$n:-0} written=\${written_$n-}"
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

unmake() {
  while [ "$made" -gt 0 ]; do
    empty=$(pwd -P)
    cd .. && rmdir "./${empty##*/}" 2>/dev/null || return
    made=$((made - 1))
  done
}

# Owner and mode of a path, and of nothing that was put in its place meanwhile: links are not followed.
change() {
  if [ -d "$path" ]; then
    place=$path one=.
  else
    place=${path%/*} one=./${path##*/}
    place=${place:-/}
  fi
  (
    cd -P -- "$place" && [ "$(pwd -P)" = "$place" ] && [ ! -L "$one" ] || exit 1
    [ -z "$1" ] || chown -h "$1" "$one" || exit 1
    [ -z "$2" ] || chmod "$2" "$one"
  ) 2>&1
}

settle() {
  if [ -n "$owner" ]; then chown -h "$owner" "$1" 2>&1 || return; fi
  chmod "$mode" "$1" 2>&1
}

# Reads a file into $content. Root reads none that is another's than whose it should be: a user may put a link there meanwhile.
slurp() {
  content=$(
    exec <"$1" || exit
    case $owner in
      [0-9]*)
        set -- $(ls -lLnd /proc/self/fd/0 2>/dev/null || ls -lLnd /dev/fd/0)
        [ "${3-}" = "${owner%%:*}" ] || exit 1
        ;;
    esac
    cat && echo .
  ) 2>/dev/null || return
  content=${content%.}
}

# Writes what it reads beside the file, as what is to take its place.
draft() {
  rm -f "./$new"
  (set -C; cat >"./$new") 2>/dev/null && settle "./$new" >/dev/null || return
  sync "./$new" 2>/dev/null || sync
}

# Brings over what was appended to a file since it had so many bytes and this sum: whoever had it open still writes there.
carry() {
  [ -e "$1" ] && [ "$(sum <"$1")" != "$3" ] || return 0
  slurp "$1" && [ "$(printf %s "$content" | first "$2" | sum)" = "$3" ] || return 1
  late=$(printf %s "$content" | tail -c "+$(($2 + 1))"; echo .)
  content=
  [ ! -s "./$name" ] || slurp "./$name" || return 1
  {
    printf %s "$content"
    [ -z "$content" ] || [ -z "$(printf %s "$content" | tail -c 1)" ] || echo
    printf %s "${late%.}"
  } | draft && mv -f "./$new" "./$name"
}

# Lines that we wrote become again what they were, and lines that we removed come back. A line that somebody else has edited
# since is known by its key: it gets back what stood before the key, and keeps what stands behind it. Ends with 3 where that
# takes away something of his, or where a line of ours is to be found no more.
undo='
function behind(text, key,  at) {
  at = key == "" || text ~ /^[ \t]*#/ ? 0 : index(text, key)
  if (!at || substr(text, at - 1, 1) !~ /[ \t]/ || substr(text, at + length(key), 1) !~ /^[ \t]?$/) return 0
  return at + length(key)
}
mode == 0 && part == 0 && $0 == token { mode = 1; next }
mode == 0 {
  if (++part == 1) before[++edits] = $0
  else if (part == 2) after[edits] = $0
  else { key[edits] = $0; part = 0 }
  next
}
{
  end[++lines] = sub(/\r$/, "") ? "\r" : ""
  line[lines] = $0
  seen[$0]
}
END {
  for (n = 1; n <= edits; n++) if (after[n] != "") ours[after[n], ++had[after[n]]] = n
  for (at = 1; at <= lines; at++) {
    text = line[at]
    if (used[text] >= had[text]) continue
    edit[at] = ours[text, ++used[text]]
    found[edit[at]]
    line[at] = before[edit[at]]
  }
  left = 0
  for (n = 1; n <= edits; n++) if (after[n] != "" && !(n in found)) left++
  # What has our options still, first.
  for (try = 1; try <= 2; try++) for (at = 1; left && at <= lines; at++) if (!(at in edit)) for (n = 1; n <= edits; n++) {
    if (after[n] == "" || (n in found) || !(here = behind(line[at], key[n]))) continue
    is_same = substr(line[at], 1, here - 1) == substr(after[n], 1, behind(after[n], key[n]) - 1)
    if (try == 1 && !is_same) continue
    edit[at] = n
    found[n]
    left--
    if (before[n] == after[n]) break
    if (!is_same) odd = 3
    line[at] = before[n] == "" ? "" : substr(before[n], 1, behind(before[n], key[n]) - 1) substr(line[at], here)
    break
  }
  for (n = 1; n <= edits; n++) {
    is_lost = before[n] != "" && !(n in found) && !(before[n] in seen)
    if (is_lost && after[n] == "") line[++lines] = before[n]
    else if (is_lost && before[n] != after[n]) odd = 3
  }
  for (at = 1; at <= lines; at++) if (!(at in edit) || line[at] != "") print line[at] end[at]
  exit odd + 0
}'

# Takes our edits out of what somebody else has written meanwhile.
merge() {
  for again in 1 2 3; do
    now=$(current)
    case $now in none | link | odd) return 1 ;; esac
    # What does not fit into a variable is not text.
    slurp "./$name" && [ "$(printf %s "$content" | sum)" = "$now" ] && edits "$n" >/dev/null || return 1
    bytes=$(($(printf %s "$content" | wc -c)))
    content=$({ edits "$n"; echo "$token"; printf %s "$content"; } | awk -v token="$token" "$undo"; echo ".$?")
    ended=${content##*.}
    [ "$ended" = 0 ] || [ "$ended" = 3 ] || return 1
    printf %s "${content%.*}" | draft || return 1
    [ "$(current)" = "$now" ] || continue
    rm -f "./$theirs"
    ln "./$name" "./$theirs" 2>/dev/null || cp -p "./$name" "./$theirs" || return 1
    mv -f "./$new" "./$name" || return 1
    [ -s "./$name" ] || [ "$expected" != none ] || rm -f "./$name"
    if ! { carry "./$theirs" "$bytes" "$now" && carry "./$old" "$size" "$expected"; }; then
      trouble="what somebody else has written meanwhile is in $here/$theirs"
      return
    fi
    rm -f "./$old"
    if [ "$ended" = 0 ]; then rm -f "./$theirs"
    else trouble="what this run changed is taken out again; somebody else has changed or removed that line: his file is $here/$theirs"; fi
    return
  done
  return 1
}

# Whether the old file is still there to be put back.
saved() { [ "$expected" = none ] || [ -f "./$old" ]; }

# Puts the old file back. What somebody else has written since stays, and where it cannot, it is kept beside.
restore() {
  now=$(current)
  if [ "$now" = "$expected" ]; then
    rm -f "./$old"
  elif [ "$now" = "$written" ] && saved; then
    rm -f "./$theirs"
    ln "./$name" "./$theirs" 2>/dev/null
    if [ "$expected" = none ]; then rm -f "./$name"
    else why=$(mv -f "./$old" "./$name" 2>&1) || { trouble="the old file could not be put back: $why"; return; }; fi
    if carry "./$theirs" "$length" "$written"; then rm -f "./$theirs"
    else trouble="what somebody else has written meanwhile is in $here/$theirs"; fi
  elif merge; then
    return
  elif [ "$expected" = none ]; then
    trouble="somebody else has changed the file meanwhile; it stands as it is"
  elif ! saved; then
    trouble="the old file cannot be put back: somebody else has removed $here/$old; what is in its place stands as it is"
  else
    rm -f "./$theirs"
    case $now in
      none) ;;
      *)
        ln "./$name" "./$theirs" 2>/dev/null || mv -f "./$name" "./$theirs"
        trouble="what somebody else has written meanwhile is in $here/$theirs"
        ;;
    esac
    why=$(mv -f "./$old" "./$name" 2>&1) || trouble="the old file could not be put back: $why"
  fi
}

take_back() {
  for number in $begun; do
    enter "$number" || { trouble="cannot enter $directory any more"; continue; }
    if [ -n "$written" ]; then
      restore
      [ "$(current)" = "$expected" ] || stands='what this run changed is taken out again, line by line'
    fi
    rm -f "./$new"
    [ -n "$written" ] && [ -n "$trouble" ] || rm -f "./$old"
    unmake
  done
  for number in $mended; do
    mend "$number"
    change "$was_owner" "$was_mode" >/dev/null || trouble="$path could not be given back its owner and mode"
  done
}

# Takes everything back and says why.
fail() {
  trap '' HUP INT TERM
  [ -z "$guard" ] || kill -USR1 "$guard" 2>/dev/null
  take_back
  [ "$1" != restored ] || set -- restored "$stands"
  [ -z "$trouble" ] || set -- troubled "$trouble"
  say "$@"
  exit 0
}

take() {
  begun="$1 $begun"
  enter "$1" || fail refused "cannot enter $directory"
  IFS=/
  set -- $make
  unset IFS
  for part; do
    why=$(mkdir -m 700 "./$part" 2>&1) || fail refused "cannot make $part in $here: ${why##*: }"
    if [ -n "$owner" ]; then
      why=$(chown -h "$owner" "./$part" 2>&1) || { rmdir "./$part"; fail refused "cannot give $part to its user: ${why##*: }"; }
    fi
    made=$((made + 1))
    eval "made_$n=$made"
    descend || fail refused "cannot enter $here"
    [ -z "$selinux" ] || restorecon . 2>/dev/null
  done
  say ready
  why=$( (set -C; first "$length" >"./$new") 2>&1 ) || fail refused "cannot write in $here: ${why##*: }"
  [ "$(wc -c <"./$new")" -eq "$length" ] || fail refused "it did not arrive whole${why:+: $why}"
  why=$(settle "./$new") || fail refused "$why"
  if [ -n "$selinux" ] && [ "$expected" != none ]; then chcon --reference="./$name" "./$new" 2>/dev/null; fi
  why=$(sync "./$new" 2>&1) || sync
  say written
  cat "./$new"
}

place() {
  enter "$1" || fail refused "cannot enter $directory"
  [ "$(current)" = "$expected" ] || fail changed
  written=$(sum <"./$new")
  if [ "$expected" = none ]; then
    # A link is made only where nothing is.
    eval "written_$n=\$written"
    if ! ln "./$new" "./$name" 2>/dev/null; then
      [ "$(current)" = none ] || { eval "written_$n="; fail changed; }
      why=$(mv -f "./$new" "./$name" 2>&1) || fail refused "$why"
    fi
    rm -f "./$new"
    [ -z "$selinux" ] || restorecon "./$name" 2>/dev/null
  else
    why=$(ln "./$name" "./$old" 2>&1) || why=$(cp -p "./$name" "./$old" 2>&1) || fail refused "$why"
    [ "$(sum <"./$old")" = "$expected" ] || fail changed
    eval "written_$n=\$written"
    why=$(mv -f "./$new" "./$name" 2>&1) || fail refused "$why"
    # Whoever had the old one open has written there.
    [ "$(sum <"./$old")" = "$expected" ] || fail changed
  fi
  sync . 2>/dev/null
}

# Ends the trial after so long without a word. It is called off by a signal that is trapped nowhere else: one that comes before
# its trap is set is not lost.
watch() {
  (
    trap 'kill "$nap" 2>/dev/null; exit' USR1
    sleep "$limit" &
    nap=$!
    wait "$nap"
    kill -TERM "$$"
  ) </dev/null >/dev/null 2>&1 &
  guard=$!
}

for number in $files; do take "$number"; done
trap 'fail restored' HUP INT TERM
for number in $mends; do
  mend "$number"
  mended="$number $mended"
  why=$(change "$owner" "$mode") || fail refused "$why"
done
for number in $files; do place "$number"; done
watch
say end
while read -r answer || answer=back; do
  kill -USR1 "$guard" 2>/dev/null
  wait "$guard" 2>/dev/null
  [ "$answer" = hold ] || break
  watch
done
[ "$answer" = keep ] || fail restored
trap '' HUP INT TERM
guard=
for number in $files; do
  enter "$number" && { [ "$expected" = none ] || [ "$(sum <"./$old")" = "$expected" ]; } || fail changed
done
for number in $files; do
  enter "$number" && rm -f "./$old"
done
say kept
