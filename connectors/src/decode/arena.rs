//! The bytes of a batch, copied once, and text columns that are views into them.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryViewArray, NullBufferBuilder, StringViewArray, make_view};
use arrow::buffer::Buffer;
use arrow::error::ArrowError;

/// All bytes that the columns of one batch point at.
///
/// Limit: a block of an Arrow view is addressed by 32 bits, so a block is closed long before.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    closed: Vec<Buffer>,
    open: Vec<u8>,
    /// How large the last batch was. Room is made when the next one begins, so that quiet partitions hold none.
    expected: usize,
}

const BLOCK_BYTES: usize = 64 << 20;

/// Bytes that lie in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored {
    block: u32,
    offset: u32,
}

impl Arena {
    /// Copies the bytes of a record; what else the record needs is stored in the same block.
    pub(crate) fn begin_record(&mut self, payload: &[u8]) -> Stored {
        if self.open.len() > BLOCK_BYTES {
            let block = std::mem::take(&mut self.open);
            self.closed.push(Buffer::from_vec(block));
        }
        if self.open.capacity() == 0 {
            self.open.reserve(self.expected);
        }
        let stored = self.here();
        self.open.extend_from_slice(payload);
        stored
    }

    /// The place at which the next bytes will be stored.
    fn here(&self) -> Stored {
        Stored { block: self.closed.len() as u32, offset: self.open.len() as u32 }
    }

    /// The view of bytes that `write` appends.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u128 {
        let stored = self.here();
        write(&mut self.open);
        let bytes = &self.open[stored.offset as usize..];
        let view = make_view(bytes, stored.block, stored.offset);
        if bytes.len() <= 12 {
            // A short value lies in its view.
            self.open.truncate(stored.offset as usize);
        }
        view
    }

    /// The blocks, for the columns to share. Empties the arena.
    pub(crate) fn finish(&mut self) -> Arc<[Buffer]> {
        let open = std::mem::take(&mut self.open);
        self.expected = (open.len() + open.len() / 8).min(BLOCK_BYTES);
        let mut blocks = std::mem::take(&mut self.closed);
        blocks.push(Buffer::from_vec(open));
        blocks.into()
    }
}

impl Stored {
    /// The view of a part of the stored bytes: `bytes`, which begin `start` bytes after their beginning.
    #[inline]
    pub(crate) fn view(self, bytes: &[u8], start: usize) -> u128 {
        make_view(bytes, self.block, self.offset + start as u32)
    }
}

/// A column of views that is being built.
#[derive(Debug)]
pub(crate) struct Views {
    views: Vec<u128>,
    nulls: NullBufferBuilder,
}

impl Views {
    pub(crate) fn new() -> Self {
        Self { views: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    #[inline]
    pub(crate) fn push(&mut self, view: u128) {
        self.views.push(view);
        self.nulls.append_non_null();
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.views.push(0);
        self.nulls.append_null();
    }

    pub(crate) fn push_option(&mut self, view: Option<u128>) {
        match view {
            Some(view) => self.push(view),
            None => self.push_null(),
        }
    }

    /// The column as text. Empties the builder.
    pub(crate) fn text(&mut self, blocks: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        let views = self.take();
        Ok(Arc::new(StringViewArray::try_new(views.into(), Arc::clone(blocks), self.nulls.finish())?))
    }

    /// The column as bytes. Empties the builder.
    pub(crate) fn bytes(&mut self, blocks: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        let views = self.take();
        Ok(Arc::new(BinaryViewArray::try_new(views.into(), Arc::clone(blocks), self.nulls.finish())?))
    }

    fn take(&mut self) -> Vec<u128> {
        std::mem::take(&mut self.views)
    }
}
