//! The field lines of a response that do not come from its content.

/// Field lines in order; names are the same in letters of either case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct FieldSet {
    lines: Vec<(String, String)>,
}

impl FieldSet {
    /// Sets a field to one value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.lines.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a value: behind a comma to the values there are, for Set-Cookie on a line of its own
    /// (RFC 9110 §5.3).
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let is_list = !name.eq_ignore_ascii_case("Set-Cookie");
        match self.find(name).filter(|_| is_list) {
            Some(place) => {
                let line = &mut self.lines[place].1;
                line.push_str(", ");
                line.push_str(value);
            }
            None => self.lines.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Takes a field out.
    pub(super) fn remove(&mut self, name: &str) {
        self.lines
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Returns a field's value.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.find(name).map(|place| self.lines[place].1.as_str())
    }

    /// Returns names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.lines
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}
