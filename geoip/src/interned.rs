//! Places, each held once and known by a number.
//!
//! A database has far fewer places than networks; `database`, `atlas` and `build` number them as they come.

use std::collections::HashMap;

use crate::place::Place;

/// Places in the order in which they first came; the number of a place is its index.
#[derive(Default)]
pub(crate) struct Interned {
    places: Vec<Place>,
    ids: HashMap<Place, u32>,
}

impl Interned {
    pub(crate) fn id(&mut self, place: Place) -> u32 {
        let next = u32::try_from(self.places.len()).expect("memory ends before 2^32 places");
        *self.ids.entry(place).or_insert_with_key(|place| {
            self.places.push(place.clone());
            next
        })
    }

    pub(crate) fn at(&self, id: u32) -> &Place {
        &self.places[id as usize]
    }

    pub(crate) fn into_places(self) -> Vec<Place> {
        self.places
    }
}
