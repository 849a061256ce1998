//! How much work a judgement may be. It is counted and never timed, so a world is judged as far on every machine.

use std::cell::Cell;

/// Work: arrangements of one class under one loss, and addresses looked up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Effort {
    pub arrangements: usize,
    pub look_ups: usize,
}

/// What one question about one case may still cost.
pub struct Budget(Cell<Effort>);

/// The budget does not reach for an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spent;

impl Effort {
    /// For a whole world: a few seconds of one core.
    pub const MOST: Effort = Effort { arrangements: 1 << 21, look_ups: 1 << 24 };
    pub const NONE: Effort = Effort { arrangements: 0, look_ups: 0 };

    /// One of so many equal parts.
    pub fn part(self, parts: usize) -> Effort {
        let parts = parts.max(1);
        Effort { arrangements: self.arrangements / parts, look_ups: self.look_ups / parts }
    }

    pub fn plus(self, more: Effort) -> Effort {
        Effort {
            arrangements: self.arrangements + more.arrangements,
            look_ups: self.look_ups + more.look_ups,
        }
    }

    pub fn less(self, spent: Effort) -> Effort {
        Effort {
            arrangements: self.arrangements - spent.arrangements,
            look_ups: self.look_ups - spent.look_ups,
        }
    }

    /// Whether what this did not reach for is worth another try with `next`.
    pub fn is_far_below(self, next: Effort) -> bool {
        next.arrangements > 2 * self.arrangements || next.look_ups > 2 * self.look_ups
    }
}

impl Budget {
    pub fn of(effort: Effort) -> Budget {
        Budget(Cell::new(effort))
    }

    pub fn left(&self) -> Effort {
        self.0.get()
    }

    pub fn refill(&self, effort: Effort) {
        self.0.set(effort);
    }

    pub fn arrange(&self, count: usize) -> Result<(), Spent> {
        let Effort { arrangements, look_ups } = self.left();
        let arrangements = arrangements.checked_sub(count).ok_or(Spent)?;
        self.refill(Effort { arrangements, look_ups });
        Ok(())
    }

    pub fn look_up(&self, count: usize) -> Result<(), Spent> {
        let Effort { arrangements, look_ups } = self.left();
        let look_ups = look_ups.checked_sub(count).ok_or(Spent)?;
        self.refill(Effort { arrangements, look_ups });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_reaches_to_its_last_unit() {
        let budget = Budget::of(Effort { arrangements: 3, look_ups: 1 });
        assert_eq!(budget.arrange(2), Ok(()));
        assert_eq!(budget.arrange(2), Err(Spent));
        assert_eq!(budget.arrange(1), Ok(()));
        assert_eq!(budget.left(), Effort { arrangements: 0, look_ups: 1 });
        assert_eq!(budget.look_up(1), Ok(()));
        assert_eq!(budget.look_up(1), Err(Spent));
        assert_eq!(budget.left(), Effort::NONE);
    }
}
