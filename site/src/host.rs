//! One site of an image: its pages by path, its rules, and its answers for everything else.
//!
//! Upstream: [`Site`]. Downstream: `app-http`. A path is found in one probe, whether there are ten
//! or a million; the rules are tried in order, and only for paths that no page has. (The packer
//! has resolved the rules for all paths that a page has, those with `!` included.)

use crate::coding::Wanted;
use crate::index;
use crate::page::{Page, Variant};
use crate::reader::Site;
use crate::records::{ACTION_LOOKUP, ACTION_MOVED, BY_RULE, HostRecord, RuleRecord};
use crate::rules;
use thiserror::Error;

/// One site of an image.
#[derive(Debug, Clone, Copy)]
pub struct Host<'s, 'a> {
    site: &'s Site<'a>,
    number: u16,
}

/// What answers for a path.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a, 'r> {
    /// The page.
    pub page: Page<'a>,
    /// What goes into the response at [`Variant::insert_at`](crate::Variant::insert_at): the rest
    /// of a Location. Empty for most pages.
    pub inserted: &'r [u8],
}

/// The room given is too small for the Location; a request for it is answered with 414.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no room for the Location")]
pub struct NoRoom;

impl<'s, 'a> Host<'s, 'a> {
    #[inline]
    pub(crate) fn new(site: &'s Site<'a>, number: u16) -> Self {
        Host { site, number }
    }

    /// Returns the host's number; the default one is 0.
    #[inline]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Returns the host's names, in lower case; those that start with a dot stand for all names
    /// that end so. The default host has all other names, and so may have none here.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        crate::names::of_host(*self.site, self.number)
    }

    /// Finds the page of a path: percent-decoded, without query, starting with `/`. One probe,
    /// and no panic whatever the path is.
    #[inline(always)]
    pub fn lookup(&self, path: &[u8]) -> Option<Page<'a>> {
        let site = self.site;
        let hash = index::hash(self.number, path);
        let seed = site.seeds.get(index::bucket(hash, bits(site.seeds)))?;
        let slot = index::slot(hash, u32::from_le_bytes(*seed), bits(site.slots));
        let page = site.page(u32::from_le_bytes(*site.slots.get(slot)?))?;
        (page.path == path && page.record.host == self.number).then_some(page)
    }

    /// Returns the response to GET behind the status line ([`Variant::response`]) of the page whose
    /// plain path is `target`, in the coding that is most welcome; `None` when there is none, or
    /// when its status is not 200. It is what a look-up leads to for most requests, without the page
    /// being put together.
    #[inline(never)]
    pub fn usual_response(&self, target: &[u8], wanted: Wanted) -> Option<&'a [u8]> {
        self.usual(target, wanted).map(|variant| variant.response())
    }

    /// Returns the same for HEAD: [`Variant::head`].
    #[inline(never)]
    pub fn usual_head(&self, target: &[u8], wanted: Wanted) -> Option<&'a [u8]> {
        self.usual(target, wanted).map(|variant| variant.head())
    }

    /// Returns the same for 304, when `tag` is that of what would be sent:
    /// [`Variant::kept_fields`], behind the page's path.
    #[inline(never)]
    pub fn usual_not_modified(
        &self,
        target: &[u8],
        wanted: Wanted,
        tag: &[u8],
    ) -> Option<(&'a [u8], &'a [u8])> {
        let page = self.usual_page(target)?;
        let variant = page.best(wanted);
        let is_known = !tag.is_empty() && variant.etag() == tag;
        is_known.then(|| (page.path(), variant.kept_fields()))
    }

    #[inline(always)]
    fn usual(&self, target: &[u8], wanted: Wanted) -> Option<Variant<'a>> {
        Some(self.usual_page(target)?.best(wanted))
    }

    #[inline(always)]
    fn usual_page(&self, target: &[u8]) -> Option<Page<'a>> {
        let page = self.lookup(target)?;
        (page.has_plain_path() && page.status() == 200).then_some(page)
    }

    /// Finds what answers for a path (percent-decoded, normal, starting with `/`): its page, what
    /// the first rule says that matches, or the page for paths not found. `query` is the
    /// request's, without question mark; redirects take it along. What goes into a Location is
    /// written into `room`, percent-encoded.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn answer<'r>(
        &self,
        path: &[u8],
        query: Option<&[u8]>,
        room: &'r mut [u8],
    ) -> Result<Answer<'a, 'r>, NoRoom> {
        let mut out = rules::Room::new(room);
        let page = match self.lookup(path) {
            Some(page) => page,
            None => self.follow_rules(path, query, &mut out),
        };
        let takes_query = query.is_some()
            && out.written().is_empty()
            && (300..400).contains(&page.status())
            && page.identity().insert_at().is_some();
        if takes_query {
            out.push_query(query);
        }
        let inserted = out.finish()?;
        Ok(Answer { page, inserted })
    }

    /// Finds what answers for a path that has no page.
    fn follow_rules(
        &self,
        path: &[u8],
        query: Option<&[u8]>,
        out: &mut rules::Room<'_>,
    ) -> Page<'a> {
        let host = self.record();
        let first = host.first_rule as usize;
        let rules = self.site.rules.get(first..).unwrap_or_default();
        for record in rules.iter().take(host.rule_count as usize) {
            let rule = RuleRecord::decode(record);
            let Some(captures) = rules::captures(self.site, &rule, path) else {
                continue;
            };
            if rule.action == ACTION_LOOKUP {
                rules::write_path(self.site, &rule, path, &captures, out);
                let page = self.lookup(out.written());
                out.clear();
                let page = page.filter(|page| page.record.flags & BY_RULE == 0);
                return page.unwrap_or_else(|| self.not_found());
            }
            if rule.action == ACTION_MOVED {
                rules::write_location(self.site, &rule, path, &captures, query, out);
            }
            return self.numbered(rule.page);
        }
        self.not_found()
    }

    /// Returns the page for paths that are not found; its status is 404.
    #[inline]
    pub fn not_found(&self) -> Page<'a> {
        self.numbered(self.record().not_found)
    }

    /// Returns the page for when the server cannot serve; its status is 503.
    pub fn unavailable(&self) -> Page<'a> {
        self.numbered(self.record().unavailable)
    }

    /// Returns the answer to OPTIONS, with Allow and, where the site is open to other origins,
    /// what a CORS preflight asks for.
    pub fn options(&self) -> Page<'a> {
        self.numbered(self.record().options)
    }

    /// Returns every page that has a path, in the order of the image.
    pub fn pages(&self) -> impl Iterator<Item = Page<'a>> + use<'a> {
        let number = self.number;
        self.site
            .pages()
            .filter(move |page| page.record.host == number && !page.path.is_empty())
    }

    /// Returns how many rules are tried for paths that no page has.
    pub fn rule_count(&self) -> usize {
        self.record().rule_count as usize
    }

    #[inline]
    pub(crate) fn record(&self) -> HostRecord {
        let record = self.site.hosts.get(usize::from(self.number));
        record.map_or(HostRecord::default(), HostRecord::decode)
    }

    /// Returns a page whose number was checked.
    #[inline]
    fn numbered(&self, number: u32) -> Page<'a> {
        self.site.page(number).unwrap_or(Page {
            record: crate::records::PageRecord::default(),
            path: b"",
            variants: &[],
            responses: b"",
        })
    }
}

/// Returns the binary logarithm of a table's length, a power of two.
#[inline]
fn bits(table: &[[u8; 4]]) -> u32 {
    table.len().trailing_zeros() & 31
}
