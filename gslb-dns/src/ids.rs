//! Indices into the tables of a world, which other rooms may hold without knowing what a world is.

macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident),*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
            pub struct $id(pub u16);

            impl $id {
                pub fn index(self) -> usize {
                    usize::from(self.0)
                }
            }
        )*
    };
}

ids! {
    /// Index into `World::sites`.
    SiteId,
    /// Index into `World::maps`.
    MapId,
    /// Index into `World::services`.
    ServiceId,
    /// A failure domain of sites.
    DomainId
}
