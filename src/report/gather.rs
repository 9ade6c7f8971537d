//! Gathers the outputs of many hosts so that what several of them said alike is held once.
//!
//! [`Gather`] is a radix tree over bytes, one root for stdout and one for stderr. Every host is a [`Cursor`] that walks
//! along what others have said already and leaves the path, splitting a node, where it says something else. Two hosts
//! that stand at the same [`Place`] at the end gave identical answers: no hashing, no copies, one comparison a byte.
//! Past the limits, what a host says goes to the [`Spool`]. It knows nothing of hosts, lines or how answers are shown.

use super::error::ReportError;
use super::settings::Limits;
use super::spool::{Fingerprint, Spool, Spooled};
use crate::event::Stream;

/// The tree.
pub(super) struct Gather {
    nodes: Vec<Node>,
    held: usize,
    per_host: usize,
    total: usize,
    spool: Spool,
}

/// Bytes that follow those of the parent.
#[derive(Default)]
struct Node {
    bytes: Vec<u8>,
    parent: Option<usize>,
    /// What can follow, by its first byte.
    children: Vec<(u8, usize)>,
    /// The node that got this one's tail in the last split: where a cursor is found that stood beyond the cut.
    continuation: Option<usize>,
}

/// How far one host has come in one of its two outputs.
pub(super) struct Cursor {
    node: usize,
    offset: usize,
    length: u64,
    spooled: Option<Box<Spooled>>,
}

/// What a host said in the end: equal for equal outputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    node: usize,
    offset: usize,
    spooled: Option<Fingerprint>,
}

impl Cursor {
    /// Before the first byte.
    pub(super) fn new(stream: Stream) -> Self {
        let node = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        Self { node, offset: 0, length: 0, spooled: None }
    }

    /// How many bytes the host has said.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

impl Gather {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            nodes: vec![Node::default(), Node::default()],
            held: 0,
            per_host: limits.gathered_per_host,
            total: limits.gathered,
            spool: Spool::new(limits.spool_directory.clone()),
        }
    }

    /// Bytes held in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Adds what a host said next.
    pub(super) fn append(&mut self, cursor: &mut Cursor, bytes: &[u8]) -> Result<(), ReportError> {
        let mut rest = bytes;
        let mut depth = cursor.length as usize;
        cursor.length += bytes.len() as u64;
        if let Some(spooled) = &mut cursor.spooled {
            return self.spool.append(spooled, rest);
        }
        (cursor.node, cursor.offset) = self.settled(cursor);
        while let Some(&next) = rest.first() {
            let node = &mut self.nodes[cursor.node];
            let ahead = &node.bytes[cursor.offset..];
            if !ahead.is_empty() {
                let same = common_prefix(ahead, rest);
                let leaves_path = same < ahead.len() && same < rest.len();
                cursor.offset += same;
                depth += same;
                rest = &rest[same..];
                if leaves_path {
                    self.split(cursor.node, cursor.offset);
                }
                continue;
            }
            if let Some(&(_, child)) = node.children.iter().find(|(first, _)| *first == next) {
                (cursor.node, cursor.offset) = (child, 0);
                continue;
            }
            let room = self.per_host.saturating_sub(depth).min(self.total - self.held);
            if room == 0 {
                let spooled = cursor.spooled.insert(Box::new(Spool::begin()));
                return self.spool.append(spooled, rest);
            }
            let (fitting, over) = rest.split_at(room.min(rest.len()));
            if !node.children.is_empty() {
                let parent = cursor.node;
                let child = self.nodes.len();
                self.nodes[parent].children.push((next, child));
                self.nodes.push(Node { parent: Some(parent), ..Node::default() });
                (cursor.node, cursor.offset) = (child, 0);
            }
            self.nodes[cursor.node].bytes.extend_from_slice(fitting);
            self.held += fitting.len();
            cursor.offset += fitting.len();
            depth += fitting.len();
            rest = over;
        }
        Ok(())
    }

    /// What the host has said so far, as a value to compare.
    pub(super) fn place(&self, cursor: &Cursor) -> Place {
        let (node, offset) = self.settled(cursor);
        Place { node, offset, spooled: cursor.spooled.as_ref().map(|spooled| spooled.fingerprint()) }
    }

    /// Hands out what the host has said, in pieces.
    pub(super) fn read(
        &self,
        cursor: &Cursor,
        each: &mut dyn FnMut(&[u8]) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        let (last, offset) = self.settled(cursor);
        let mut path = vec![last];
        while let Some(parent) = self.nodes[path[path.len() - 1]].parent {
            path.push(parent);
        }
        for &node in path.iter().rev() {
            let bytes = &self.nodes[node].bytes;
            let said = if node == last { &bytes[..offset] } else { &bytes[..] };
            if !said.is_empty() {
                each(said)?;
            }
        }
        match &cursor.spooled {
            Some(spooled) => self.spool.read(spooled, each),
            None => Ok(()),
        }
    }

    /// Where a cursor stands now that nodes may have been split behind its back.
    fn settled(&self, cursor: &Cursor) -> (usize, usize) {
        let (mut node, mut offset) = (cursor.node, cursor.offset);
        while let Some(continuation) = self.nodes[node].continuation.filter(|_| offset > self.nodes[node].bytes.len()) {
            offset -= self.nodes[node].bytes.len();
            node = continuation;
        }
        (node, offset)
    }

    /// Cuts a node in two. It keeps its number and its head, so that its parent stays right.
    fn split(&mut self, node: usize, at: usize) {
        let tail = self.nodes.len();
        let head = &mut self.nodes[node];
        let bytes = head.bytes.split_off(at);
        head.bytes.shrink_to_fit();
        let children = std::mem::replace(&mut head.children, vec![(bytes[0], tail)]);
        let continuation = head.continuation.replace(tail);
        for &(_, child) in &children {
            self.nodes[child].parent = Some(tail);
        }
        self.nodes.push(Node { bytes, parent: Some(node), children, continuation });
    }
}

/// How many bytes two slices begin with in common.
fn common_prefix(one: &[u8], two: &[u8]) -> usize {
    const STRIDE: usize = 64;
    // Whole strides compare as memory; only the one that differs is looked at byte by byte.
    let same = one.chunks_exact(STRIDE).zip(two.chunks_exact(STRIDE)).take_while(|(a, b)| a == b).count() * STRIDE;
    same + one[same..].iter().zip(&two[same..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(gathered_per_host: usize, gathered: usize) -> Limits {
        Limits { gathered_per_host, gathered, spool_directory: std::env::temp_dir(), ..Limits::default() }
    }

    fn text(gather: &Gather, cursor: &Cursor) -> Vec<u8> {
        let mut out = Vec::new();
        gather
            .read(cursor, &mut |piece| {
                out.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        out
    }

    #[test]
    fn a_thousand_equal_answers_are_held_once() {
        let mut gather = Gather::new(&limits(1 << 20, 1 << 20));
        let mut cursors: Vec<_> = (0..1000).map(|_| Cursor::new(Stream::Stdout)).collect();
        for _ in 0..10 {
            for cursor in &mut cursors {
                gather.append(cursor, b"the same line of a thousand hosts\n").unwrap();
            }
        }
        assert_eq!(gather.held(), 340);
        let first = gather.place(&cursors[0]);
        assert!(cursors.iter().all(|cursor| gather.place(cursor) == first));
    }

    #[test]
    fn a_prefix_of_an_answer_is_another_answer() {
        let mut gather = Gather::new(&limits(100, 100));
        let (mut short, mut long, mut none) =
            (Cursor::new(Stream::Stdout), Cursor::new(Stream::Stdout), Cursor::new(Stream::Stdout));
        gather.append(&mut long, b"abcdef").unwrap();
        gather.append(&mut short, b"abc").unwrap();
        gather.append(&mut none, b"").unwrap();
        assert_eq!(gather.held(), 6);
        assert_ne!(gather.place(&short), gather.place(&long));
        assert_ne!(gather.place(&short), gather.place(&none));
        assert_eq!(text(&gather, &short), b"abc");
        assert_eq!(text(&gather, &none), b"");
    }

    #[test]
    fn output_without_end_takes_constant_memory() {
        let mut gather = Gather::new(&limits(1 << 20, 64 << 20));
        let mut cursor = Cursor::new(Stream::Stdout);
        let zeroes = vec![0; 32 << 10];
        for _ in 0..(200 << 20) / zeroes.len() {
            gather.append(&mut cursor, &zeroes).unwrap();
            assert!(gather.held() <= 1 << 20);
        }
        assert_eq!(cursor.length(), 200 << 20);
        let mut read = 0;
        gather
            .read(&cursor, &mut |piece| {
                read += piece.len();
                Ok(())
            })
            .unwrap();
        assert_eq!(read, 200 << 20);
    }

    proptest! {
        /// Several hosts speak by turns from a tiny alphabet, so that prefixes, splits and overflows all occur.
        #[test]
        fn places_are_equal_exactly_where_texts_are(
            turns in prop::collection::vec((0usize..6, prop::collection::vec(0u8..3, 0..6)), 0..60),
            per_host in 0usize..12,
            total in 0usize..40,
        ) {
            let mut gather = Gather::new(&limits(per_host, total));
            let mut cursors: Vec<_> = (0..6).map(|_| Cursor::new(Stream::Stdout)).collect();
            let mut expected = vec![Vec::new(); 6];
            for (host, bytes) in &turns {
                gather.append(&mut cursors[*host], bytes).unwrap();
                expected[*host].extend_from_slice(bytes);
            }
            prop_assert!(gather.held() <= total);
            for one in 0..6 {
                prop_assert_eq!(&text(&gather, &cursors[one]), &expected[one]);
                for two in 0..one {
                    let same = gather.place(&cursors[one]) == gather.place(&cursors[two]);
                    prop_assert_eq!(same, expected[one] == expected[two]);
                }
            }
        }
    }
}
