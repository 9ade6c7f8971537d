# Puts a file in place of another, and takes it back unless it is told to keep it: also when whoever tells is gone.
# Given: token, directory (without links), make (directories to be made below it), name, expected (the sum of what is replaced, or none),
# length (of what comes on standard input), mask, owner (uid:gid, or empty for whoever this runs as).
set -f
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
umask 077
trap '' PIPE
new=.$token.new old=.$token.old made=0

say() { printf '\n%s %s\n' "$token" "$*"; }

if command -v sha256sum >/dev/null 2>&1; then sum() { sha256sum; }
elif command -v md5sum >/dev/null 2>&1; then sum() { md5sum; }
else sum() { cksum; }
fi

current() {
  if [ -L "./$name" ]; then echo link
  elif [ -f "./$name" ]; then sum <"./$name"
  elif [ -e "./$name" ]; then echo odd
  else echo none; fi
}

unmake() {
  while [ "$made" -gt 0 ]; do
    empty=$(pwd -P)
    cd .. && rmdir "./${empty##*/}" 2>/dev/null || return
    made=$((made - 1))
  done
}

fail() {
  unset IFS
  rm -f "./$new" "./$old"
  unmake
  say "$@"
  exit 0
}

# What somebody else has changed since is his.
back() {
  trap '' HUP INT TERM
  if [ "$(current)" != "$written" ]; then
    rm -f "./$old"
    say foreign
  elif [ "$expected" = none ]; then
    rm -f "./$name"
    unmake
    say restored
  elif why=$(mv -f "./$old" "./$name" 2>&1); then
    say restored
  else
    say stuck "$why"
  fi
  exit 0
}

cd -P -- "$directory" 2>/dev/null && [ "$(pwd -P)" = "$directory" ] || { say refused "cannot enter $directory"; exit 0; }
selinux=
[ ! -e /sys/fs/selinux/enforce ] || selinux=yes
IFS=/
for part in $make; do
  why=$(mkdir -m 700 "./$part" 2>&1) || fail refused "cannot make $part in $(pwd -P): ${why##*: }"
  if [ -n "$owner" ]; then
    why=$(chown -h "$owner" "./$part" 2>&1) || { rmdir "./$part"; fail refused "cannot give $part to its user: ${why##*: }"; }
  fi
  cd -P "./$part" || fail refused "cannot enter $part"
  made=$((made + 1))
  [ -z "$selinux" ] || restorecon . 2>/dev/null
done
unset IFS

say ready
if head -c 1 </dev/null >/dev/null 2>&1; then receive() { head -c "$length"; }
else receive() { dd bs=1 count="$length" 2>/dev/null; }
fi
why=$( (umask "$mask"; set -C; receive >"./$new") 2>&1 ) || fail refused "cannot write in $directory: ${why##*: }"
[ "$(wc -c <"./$new")" -eq "$length" ] || fail refused "it did not arrive whole${why:+: $why}"
if [ -n "$owner" ]; then why=$(chown -h "$owner" "./$new" 2>&1) || fail refused "$why"; fi
if [ -n "$selinux" ] && [ "$expected" != none ]; then chcon --reference="./$name" "./$new" 2>/dev/null; fi
why=$(sync "./$new" 2>&1) || sync
written=$(sum <"./$new")
[ "$(current)" = "$expected" ] || fail changed
if [ "$expected" != none ]; then
  why=$(ln "./$name" "./$old" 2>&1) || why=$(cp -p "./$name" "./$old" 2>&1) || fail refused "$why"
fi
trap back HUP INT TERM
why=$(mv -f "./$new" "./$name" 2>&1) || fail refused "$why"
if [ -n "$selinux" ] && [ "$expected" = none ]; then restorecon "./$name" 2>/dev/null; fi
sync . 2>/dev/null
say written
cat "./$name"
say end
read -r answer || answer=back
[ "$answer" = keep ] || back
trap '' HUP INT TERM
rm -f "./$old"
say kept
