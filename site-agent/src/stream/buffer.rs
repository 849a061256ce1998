//! Octets that have come and were not taken yet.

/// What a buffer has room for, and what one that has grown is cut back to.
const ROOM: usize = 16 << 10;

/// Grows when it is full, which is for whoever reads into it to bound.
#[derive(Debug, Default)]
pub struct Buffer {
    octets: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub fn octets(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// These are done with.
    pub fn take(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "only what has come is taken");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Where the next octets go: never nothing.
    pub fn room(&mut self) -> &mut [u8] {
        if self.end == self.octets.len() {
            if self.start > 0 {
                self.octets.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end == self.octets.len() {
                self.octets.resize((self.end * 2).max(ROOM), 0);
            }
        }
        &mut self.octets[self.end..]
    }

    /// So many of them have come.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.octets.len(), "what has come has room");
    }

    /// Puts these behind what it has.
    pub fn put(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let room = self.room();
            let count = room.len().min(octets.len());
            room[..count].copy_from_slice(&octets[..count]);
            self.filled(count);
            octets = &octets[count..];
        }
    }

    /// Forgets all; what it had grown by is given back.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        if self.octets.len() > ROOM {
            self.octets.truncate(ROOM);
            self.octets.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out_in_order_whatever_is_taken_between() {
        let octets: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
        let (mut buffer, mut out) = (Buffer::default(), vec![]);
        for (step, piece) in octets.chunks(997).enumerate() {
            buffer.put(piece);
            let count = buffer.len() * (step % 3) / 2;
            out.extend_from_slice(&buffer.octets()[..count]);
            buffer.take(count);
        }
        out.extend_from_slice(buffer.octets());
        assert_eq!(out, octets);
    }

    #[test]
    fn what_it_had_grown_by_is_given_back() {
        let mut buffer = Buffer::default();
        buffer.put(&[7; 3 * ROOM]);
        assert_eq!(buffer.octets(), [7; 3 * ROOM]);
        buffer.clear();
        assert!(buffer.is_empty());
        assert_eq!(buffer.octets.capacity(), ROOM);
    }
}
