#!/bin/sh
cat <<'JSON'
{"_meta": {"hostvars": {"h1": {"a": 1, "n": {"x": [1, 2]}}, "h9": {"unused": true}}},
 "web": {"hosts": ["h1", "h2"], "vars": {"v": "web"}, "children": ["sub"]},
 "sub": ["h3"], "loner": {"single": "var"}, "all": {"vars": {"v": "all"}}}
JSON
