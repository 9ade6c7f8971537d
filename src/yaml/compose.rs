//! From parser events to a tree: anchors, aliases, merge keys, tags, unique keys, limits.

use super::node::{Data, Document, Duplicate, Node, Place};
use super::{MAX_ALIASED_NODES, MAX_DEPTH, YamlError, YamlFault, json, scalar};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Reads a text of one document: JSON where it is JSON, YAML 1.1 otherwise. An empty text is null.
///
/// # Errors
/// Wrong syntax, unknown tags, a second document, and nesting or aliases beyond the limits, each with its place.
pub fn parse(text: &str, file: &str) -> Result<Document, YamlError> {
    let mut documents = documents(text, file)?;
    if let Some(second) = documents.get(1) {
        return Err(YamlError::new(file, text, second.root.place, YamlFault::SecondDocument));
    }
    Ok(documents.pop().unwrap_or_else(|| Document {
        root: Node { data: Data::Null, place: Place { line: 1, column: 1 } },
        duplicates: Vec::new(),
    }))
}

/// Reads every document of a text.
///
/// # Errors
/// As [`parse`], but for the number of documents.
pub fn parse_all(text: &str, file: &str) -> Result<Vec<Document>, YamlError> {
    documents(text, file)
}

fn documents(text: &str, file: &str) -> Result<Vec<Document>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[', '"'])
        && let Ok(document) = json::parse_json(text, file)
    {
        return Ok(vec![document]);
    }
    let mut composer = Composer::default();
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    loop {
        let (event, span) = match parser.next_event() {
            None => return Ok(composer.documents),
            Some(Ok(next)) => next,
            Some(Err(error)) => {
                let fault = YamlFault::Syntax(error.info().to_lowercase());
                return Err(YamlError::new(file, text, place(*error.marker()), fault));
            }
        };
        composer.take(event, &span).map_err(|(place, fault)| YamlError::new(file, text, place, fault))?;
    }
}

fn place(marker: saphyr_parser::Marker) -> Place {
    Place {
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
    }
}

type Placed<T> = Result<T, (Place, YamlFault)>;

#[derive(Default)]
struct Composer {
    documents: Vec<Document>,
    duplicates: Vec<Duplicate>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Node, u64)>,
    aliased: u64,
}

/// A collection that has not ended.
struct Open {
    place: Place,
    anchor: usize,
    is_unsafe: bool,
    /// Nodes inside, those behind aliases included.
    weight: u64,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<(Node, Node)>, key: Option<Key>, merged: Vec<(Node, Node)> },
}

enum Key {
    Node(Node),
    Merge,
}

impl Composer {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Placed<()> {
        let place = place(span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let merge = style == ScalarStyle::Plain && tag.is_none() && text == "<<" && self.expects_key();
                if merge {
                    return self.add_key(Key::Merge);
                }
                let data = tagged_scalar(&text, style, tag.as_deref()).map_err(|fault| (place, fault))?;
                self.finish(Node { data, place }, anchor, 1)
            }
            Event::Alias(anchor) => {
                let (node, weight) = self.anchors.get(&anchor).cloned().ok_or((place, YamlFault::RecursiveAlias))?;
                self.aliased += weight;
                if self.aliased > MAX_ALIASED_NODES {
                    return Err((place, YamlFault::AliasBomb));
                }
                self.finish(node, 0, weight)
            }
            Event::SequenceStart(anchor, tag) => self.begin(place, anchor, tag, Content::Sequence(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                let content = Content::Mapping { entries: Vec::new(), key: None, merged: Vec::new() };
                self.begin(place, anchor, tag, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => Ok(()),
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Mapping { key: None, .. }, .. }))
    }

    fn add_key(&mut self, new: Key) -> Placed<()> {
        if let Some(Open { content: Content::Mapping { key, .. }, .. }) = self.open.last_mut() {
            *key = Some(new);
        }
        Ok(())
    }

    fn begin(&mut self, place: Place, anchor: usize, tag: Option<Cow<'_, Tag>>, content: Content) -> Placed<()> {
        if self.open.len() >= MAX_DEPTH {
            return Err((place, YamlFault::TooDeep));
        }
        let own = match content {
            Content::Sequence(_) => "tag:yaml.org,2002:seq",
            Content::Mapping { .. } => "tag:yaml.org,2002:map",
        };
        let is_unsafe = match tag.as_deref().map(full) {
            None => false,
            Some(name) if name == own || name == "!" => false,
            Some(name) if name == "!unsafe" => true,
            Some(name) => return Err((place, YamlFault::UnknownTag(short(&name)))),
        };
        self.open.push(Open { place, anchor, is_unsafe, weight: 1, content });
        Ok(())
    }

    fn end(&mut self) -> Placed<()> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let data = match open.content {
            Content::Sequence(items) => Data::Sequence(items.into()),
            Content::Mapping { entries, merged, .. } => {
                Data::Mapping(unique(merged, entries, &mut self.duplicates).into())
            }
        };
        let mut node = Node { data, place: open.place };
        if open.is_unsafe {
            node = unsafe_strings(&node);
        }
        self.finish(node, open.anchor, open.weight)
    }

    /// Puts a finished node where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, weight: u64) -> Placed<()> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(Document { root: node, duplicates: std::mem::take(&mut self.duplicates) });
            return Ok(());
        };
        open.weight = open.weight.saturating_add(weight);
        match &mut open.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, key, merged } => match key.take() {
                None => match node.data {
                    Data::Sequence(_) | Data::Mapping(_) => {
                        return Err((node.place, YamlFault::CollectionKey(node.kind())));
                    }
                    _ => *key = Some(Key::Node(node)),
                },
                Some(Key::Node(name)) => entries.push((name, node)),
                Some(Key::Merge) => merge(&node, merged)?,
            },
        }
        Ok(())
    }
}

/// Adds what `<<` brings. Of several mappings in a list the first wins, so it is added last.
fn merge(node: &Node, merged: &mut Vec<(Node, Node)>) -> Placed<()> {
    match &node.data {
        Data::Mapping(entries) => merged.extend(entries.iter().cloned()),
        Data::Sequence(items) => {
            for item in items.iter().rev() {
                let entries = item.as_mapping().ok_or((item.place, YamlFault::MergeOfScalar(item.kind())))?;
                merged.extend(entries.iter().cloned());
            }
        }
        _ => return Err((node.place, YamlFault::MergeOfScalar(node.kind()))),
    }
    Ok(())
}

/// Merged entries, then the mapping's own, each key once: a key keeps its first position and its last value.
pub(super) fn unique(
    merged: Vec<(Node, Node)>,
    own: Vec<(Node, Node)>,
    duplicates: &mut Vec<Duplicate>,
) -> Vec<(Node, Node)> {
    let own_from = merged.len();
    let total = own_from + own.len();
    let mut positions: HashMap<KeyIdentity, (usize, bool)> = HashMap::with_capacity(total);
    let mut entries: Vec<(Node, Node)> = Vec::with_capacity(total);
    for (index, entry) in merged.into_iter().chain(own).enumerate() {
        let is_own = index >= own_from;
        match positions.entry(KeyIdentity::of(&entry.0)) {
            Entry::Vacant(free) => {
                free.insert((entries.len(), is_own));
                entries.push(entry);
            }
            Entry::Occupied(mut taken) => {
                let (position, was_own) = *taken.get();
                if is_own && was_own {
                    let key = entry.0.as_str().map_or_else(|| "this key".to_owned(), str::to_owned);
                    duplicates.push(Duplicate { key, place: entry.0.place, first: entries[position].0.place });
                }
                taken.insert((position, is_own));
                entries[position] = entry;
            }
        }
    }
    entries
}

/// What makes two keys the same.
#[derive(PartialEq, Eq, Hash)]
enum KeyIdentity {
    Null,
    Bool(bool),
    Number(String),
    Text(Arc<str>),
}

impl KeyIdentity {
    fn of(node: &Node) -> Self {
        match &node.data {
            Data::Bool(flag) => Self::Bool(*flag),
            Data::Number(number) => Self::Number(number.to_string()),
            Data::String(text) | Data::Vault(text) | Data::Unsafe(text) => Self::Text(text.clone()),
            Data::Null | Data::Sequence(_) | Data::Mapping(_) => Self::Null,
        }
    }
}

fn tagged_scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Data, YamlFault> {
    let string = || Data::String(text.into());
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { scalar::resolve(text) } else { string() });
    };
    let name = full(tag);
    let wrong = |kind| YamlFault::WrongScalar { text: text.to_owned(), kind };
    match &*name {
        "!" | "tag:yaml.org,2002:str" => Ok(string()),
        "!vault" | "!vault-encrypted" => Ok(Data::Vault(text.into())),
        "!unsafe" => Ok(Data::Unsafe(text.into())),
        "tag:yaml.org,2002:null" => Ok(Data::Null),
        "tag:yaml.org,2002:bool" => scalar::boolean(text).ok_or_else(|| wrong("a boolean")),
        "tag:yaml.org,2002:int" => scalar::integer(text).ok_or_else(|| wrong("an integer")),
        "tag:yaml.org,2002:float" => scalar::float(text).or_else(|| plain_float(text)).ok_or_else(|| wrong("a number")),
        "tag:yaml.org,2002:timestamp" => Ok(Data::String(scalar::timestamp(text).into())),
        _ => Err(YamlFault::UnknownTag(short(&name))),
    }
}

/// What `!!float` makes of a text that is no float by its form, such as `1` or `1e3`.
fn plain_float(text: &str) -> Option<Data> {
    text.replace('_', "").parse::<f64>().ok().map(|value| Data::Number(value.into()))
}

fn full(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

fn short(name: &str) -> String {
    name.strip_prefix("tag:yaml.org,2002:").map_or_else(|| name.to_owned(), |own| format!("!!{own}"))
}

/// `!unsafe` on a collection: every string inside is unsafe, keys included.
fn unsafe_strings(node: &Node) -> Node {
    let data = match &node.data {
        Data::String(text) => Data::Unsafe(text.clone()),
        Data::Sequence(items) => Data::Sequence(items.iter().map(unsafe_strings).collect()),
        Data::Mapping(entries) => {
            Data::Mapping(entries.iter().map(|(key, value)| (key.clone(), unsafe_strings(value))).collect())
        }
        other => other.clone(),
    };
    Node { data, place: node.place }
}
