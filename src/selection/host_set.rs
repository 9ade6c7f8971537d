//! Hosts by number, in the order in which they were added, each once.

/// A set of host numbers that remembers its order. Every operation takes time in the size of its operands only.
#[derive(Clone, Debug, Default)]
pub(super) struct HostSet {
    order: Vec<u32>,
    /// A bit for every number up to the largest one.
    members: Vec<u64>,
}

impl HostSet {
    pub(super) fn insert(&mut self, host: u32) {
        let (word, bit) = (host as usize / 64, 1 << (host % 64));
        if word >= self.members.len() {
            self.members.resize(word + 1, 0);
        }
        if self.members[word] & bit == 0 {
            self.members[word] |= bit;
            self.order.push(host);
        }
    }

    pub(super) fn contains(&self, host: u32) -> bool {
        self.members.get(host as usize / 64).is_some_and(|word| word & 1 << (host % 64) != 0)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The numbers in the order in which they were added.
    pub(super) fn as_slice(&self) -> &[u32] {
        &self.order
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        self.retain(|host| other.contains(host));
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.retain(|host| !other.contains(host));
    }

    /// Keeps what is in exactly one of the two, the new hosts last.
    pub(super) fn toggle(&mut self, other: &Self) {
        let added: Vec<u32> = other.order.iter().copied().filter(|&host| !self.contains(host)).collect();
        self.subtract(other);
        self.extend(added);
    }

    fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let members = &mut self.members;
        self.order.retain(|&host| {
            let keep = keep(host);
            if !keep {
                members[host as usize / 64] &= !(1 << (host % 64));
            }
            keep
        });
    }
}

impl Extend<u32> for HostSet {
    fn extend<T: IntoIterator<Item = u32>>(&mut self, hosts: T) {
        hosts.into_iter().for_each(|host| self.insert(host));
    }
}
