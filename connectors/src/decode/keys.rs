//! Which JSON keys are read: a tree of names, laid out so that the inner loop finds a key's slot in a few steps.
//!
//! Every wanted place in a record (a top-level key, a field in a nested object) has a *slot*; while a record is scanned,
//! the slot of a key that is met gets the token of its value. Slots stand in pre-order: those of a place's descendants
//! follow it directly, so that a repeated key can clear what its earlier value left behind.

/// The number of a place in the tree, in the order in which places were asked for.
pub(crate) type Place = usize;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where its token goes.
    pub(crate) slot: u32,
    /// One past the last slot of its descendants.
    pub(crate) slots_end: u32,
    /// The table of its nested keys; `None` where nothing inside is read.
    pub(crate) inside: Option<u32>,
    /// Whether the stream declares it; what is not declared is `unmapped`, read or not.
    pub(crate) is_declared: bool,
}

/// Collects places; [`Tree::finish`] lays them out.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    children: Vec<Place>,
    is_declared: bool,
}

impl Node {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), children: Vec::new(), is_declared: false }
    }
}

/// The laid-out tree.
#[derive(Debug)]
pub(crate) struct Keys {
    tables: Vec<Table>,
    slot_of_place: Vec<u32>,
    slots: usize,
}

impl Tree {
    /// A tree with nothing but the record itself, which is place 0.
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::new("")] }
    }

    /// Notes that the stream declares what lies there.
    pub(crate) fn declare(&mut self, place: Place) {
        self.nodes[place].is_declared = true;
    }

    /// The place of `name` inside `parent`.
    pub(crate) fn read(&mut self, parent: Place, name: &str) -> Place {
        let found = self.nodes[parent].children.iter().find(|child| self.nodes[**child].name == name);
        if let Some(place) = found {
            return *place;
        }
        let place = self.nodes.len();
        self.nodes.push(Node::new(name));
        self.nodes[parent].children.push(place);
        place
    }

    /// The place of a dotted path from the record on.
    pub(crate) fn read_path(&mut self, path: &str) -> Place {
        path.split('.').fold(0, |place, name| self.read(place, name))
    }

    pub(crate) fn finish(self) -> Keys {
        let mut keys = Keys { tables: Vec::new(), slot_of_place: vec![0; self.nodes.len()], slots: 0 };
        self.lay_out(0, &mut keys);
        keys
    }

    /// Numbers a node and those below it; gives what its own parent must know of it.
    fn lay_out(&self, place: Place, keys: &mut Keys) -> Wanted {
        let node = &self.nodes[place];
        let slot = keys.slots as u32;
        keys.slot_of_place[place] = slot;
        keys.slots += 1;
        // The record's own table is the first: the place of a table is taken before those below it are made.
        let inside = (!node.children.is_empty() || place == 0).then_some(keys.tables.len() as u32);
        if let Some(table) = inside {
            keys.tables.push(Table::default());
            let entries = node.children.iter().map(|child| {
                let name = self.nodes[*child].name.as_bytes().into();
                (name, self.lay_out(*child, keys))
            });
            let entries = entries.collect();
            keys.tables[table as usize] = Table::new(entries);
        }
        let slots_end = keys.slots as u32;
        Wanted { slot, slots_end, inside, is_declared: node.is_declared }
    }
}

impl Keys {
    /// The table of the record's own keys.
    pub(crate) const TOP: u32 = 0;

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// The slot of a place.
    pub(crate) fn slot(&self, place: Place) -> u32 {
        self.slot_of_place[place]
    }

    /// What is known of `key` in a table; `None` for a key nobody asked for.
    #[inline]
    pub(crate) fn find(&self, table: u32, key: &[u8]) -> Option<Wanted> {
        self.tables[table as usize].find(key)
    }
}

/// A hash table for few keys. Most keys of a record are not wanted, so a miss must be cheap: the hash looks at the length
/// and three bytes only, and the table is sparse.
#[derive(Debug, Default)]
struct Table {
    /// One past the index in `entries` of the first entry of a bucket; 0 for an empty one.
    buckets: Vec<u32>,
    entries: Vec<Entry>,
    shift: u32,
}

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    wanted: Wanted,
    /// One past the index of the next entry of the same bucket; 0 for the last.
    next: u32,
}

impl Table {
    fn new(keys: Vec<(Box<[u8]>, Wanted)>) -> Self {
        let bits = (keys.len() * 8).max(16).next_power_of_two().trailing_zeros();
        let mut table = Self { buckets: vec![0; 1 << bits], entries: Vec::new(), shift: 32 - bits };
        for (key, wanted) in keys {
            let bucket = table.bucket(&key);
            let next = table.buckets[bucket];
            table.entries.push(Entry { key, wanted, next });
            table.buckets[bucket] = table.entries.len() as u32;
        }
        table
    }

    #[inline]
    fn bucket(&self, key: &[u8]) -> usize {
        let byte = |at: usize| u32::from(key.get(at).copied().unwrap_or(0));
        let last = byte(key.len().wrapping_sub(1));
        let mixed = key.len() as u32 ^ (byte(0) << 8) ^ (byte(key.len() / 2) << 16) ^ (last << 24);
        (mixed.wrapping_mul(0x9e37_79b1) >> self.shift) as usize
    }

    #[inline]
    fn find(&self, key: &[u8]) -> Option<Wanted> {
        let mut next = self.buckets[self.bucket(key)];
        while next != 0 {
            let entry = &self.entries[next as usize - 1];
            if &*entry.key == key {
                return Some(entry.wanted);
            }
            next = entry.next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_stand_directly_behind_their_ancestor() {
        let mut tree = Tree::new();
        let user = tree.read(0, "user");
        let ip = tree.read(0, "ip");
        let name = tree.read(user, "name");
        let deep = tree.read_path("user.org.id");
        let declared = tree.read(0, "declared");
        tree.declare(declared);
        let keys = tree.finish();
        let found = keys.find(Keys::TOP, b"user").expect("asked for");
        assert_eq!(found.slot, keys.slot(user));
        assert!([name, deep].iter().all(|place| (found.slot..found.slots_end).contains(&keys.slot(*place))));
        assert!(!(found.slot..found.slots_end).contains(&keys.slot(ip)));
        let inside = found.inside.expect("has fields");
        assert_eq!(keys.find(inside, b"name").map(|wanted| wanted.slot), Some(keys.slot(name)));
        assert!(keys.find(Keys::TOP, b"declared").is_some_and(|wanted| wanted.is_declared) && !found.is_declared);
        assert_eq!(keys.find(Keys::TOP, b"name"), None);
        assert_eq!(keys.find(Keys::TOP, b""), None);
    }

    #[test]
    fn many_keys_are_all_found() {
        let mut tree = Tree::new();
        let places: Vec<_> = (0..2000).map(|number| tree.read(0, &format!("key_{number}"))).collect();
        let keys = tree.finish();
        for (number, place) in places.iter().enumerate() {
            let found = keys.find(Keys::TOP, format!("key_{number}").as_bytes());
            assert_eq!(found.map(|wanted| wanted.slot), Some(keys.slot(*place)));
        }
    }
}
