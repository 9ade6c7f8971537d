# Lines that we wrote become again what they were, and lines that we removed come back. A line that somebody else has edited
# since is known by its key: it gets back what stood before the key, and keeps what stands behind it. Ends with 3 where that
# takes away something of his, or where a line of ours is to be found no more.
# Given: the edits, three lines each (as it was, as it is, and its key with its type), the line `token`, and the file.

function blanks(text, at) {
  while (substr(text, at, 1) ~ /[ \t]/) at++
  return at
}

# Behind the options that begin here: blanks in quotes are a part of them, as sshd(8) has it.
function options(text, at,  letter, is_quoted) {
  for (; at <= length(text); at++) {
    letter = substr(text, at, 1)
    if (letter == "\\" && substr(text, at + 1, 1) == "\"") at++
    else if (letter == "\"") is_quoted = !is_quoted
    else if (!is_quoted && letter ~ /[ \t]/) break
  }
  return at
}

# Behind the key, where it begins here.
function key_at(text, at, type, blob) {
  if (substr(text, at, length(type)) != type) return 0
  at += length(type)
  if (substr(text, at, 1) !~ /[ \t]/) return 0
  at = blanks(text, at)
  if (substr(text, at, length(blob)) != blob || substr(text, at + length(blob), 1) !~ /^[ \t]?$/) return 0
  return at + length(blob)
}

# Behind the key of a line, where it has this one.
function behind(text, key,  parts, at, end) {
  if (split(key, parts, " ") != 2 || !index(text, parts[2])) return 0
  at = blanks(text, 1)
  if (substr(text, at, 1) == "#") return 0
  end = key_at(text, at, parts[1], parts[2])
  return end ? end : key_at(text, blanks(text, options(text, at)), parts[1], parts[2])
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
}
