//! The one check of an image's tables: that whatever they name is there.

use crate::coding::Coding;
use crate::format::{self, Section};
use crate::limits::{MAX_CAPTURES, MAX_HOSTS, MAX_NAMES, MAX_PAGES, MAX_PARTS, MAX_RULES};
use crate::page::Page;
use crate::reader::{Site, SiteError};
use crate::records::{
    ACTION_LOOKUP, CAPTURE, HostRecord, LITERAL, NO_SPLAT, NameRecord, PartRecord, QUERY,
    RuleRecord, SEGMENT, SPLAT_BELOW,
};

/// Checks every table of an image.
pub(crate) fn check(site: &Site<'_>) -> Result<(), SiteError> {
    check_pages(site)?;
    check_index(site)?;
    check_hosts(site)?;
    check_names(site)?;
    let bad = |number: &usize| !is_rule_valid(site, *number);
    match (0..site.rules.len()).find(bad) {
        Some(number) => Err(SiteError::Rule(number)),
        None => Ok(()),
    }
}

fn check_pages(site: &Site<'_>) -> Result<(), SiteError> {
    if site.pages.is_empty() || site.pages.len() > MAX_PAGES {
        return Err(SiteError::Section(Section::Pages));
    }
    let is_valid = |number: usize| {
        let page = site.page(number as u32);
        page.is_some_and(|page| is_page_valid(site, &page))
    };
    match (0..site.pages.len()).find(|number| !is_valid(*number)) {
        Some(number) => Err(SiteError::Page(number)),
        None => Ok(()),
    }
}

fn is_page_valid(site: &Site<'_>, page: &Page<'_>) -> bool {
    let codings = page.codings();
    let are_variants_valid = Coding::ALL
        .into_iter()
        .filter(|coding| codings.contains(*coding))
        .all(|coding| {
            page.variant(coding)
                .is_some_and(|variant| variant.coding() == coding && variant.is_well_formed())
        });
    codings.contains(Coding::Identity)
        && codings.bits() == page.record.codings
        && usize::from(page.record.host) < site.hosts.len()
        && are_variants_valid
        && page.by_size().all(|coding| codings.contains(coding))
}

fn check_index(site: &Site<'_>) -> Result<(), SiteError> {
    let sizes_fit = [site.seeds.len(), site.slots.len()]
        .iter()
        .all(|len| len.is_power_of_two() && *len <= 2 * MAX_PAGES);
    let names_pages = site.slots.iter().all(|slot| {
        let page = u32::from_le_bytes(*slot);
        page == format::NO_PAGE || (page as usize) < site.pages.len()
    });
    match sizes_fit && names_pages {
        true => Ok(()),
        false => Err(SiteError::Index),
    }
}

fn check_hosts(site: &Site<'_>) -> Result<(), SiteError> {
    if site.hosts.is_empty() || site.hosts.len() > MAX_HOSTS {
        return Err(SiteError::Section(Section::Hosts));
    }
    let is_valid = |host: HostRecord| {
        let status = |page| site.page(page).map(|page| page.status());
        let end = u64::from(host.first_rule) + u64::from(host.rule_count);
        status(host.not_found) == Some(404)
            && status(host.unavailable) == Some(503)
            && status(host.options) == Some(204)
            && host.rule_count as usize <= MAX_RULES
            && end <= site.rules.len() as u64
    };
    match site
        .hosts
        .iter()
        .position(|host| !is_valid(HostRecord::decode(host)))
    {
        Some(number) => Err(SiteError::Host(number)),
        None => Ok(()),
    }
}

fn check_names(site: &Site<'_>) -> Result<(), SiteError> {
    if site.names.len() > MAX_NAMES {
        return Err(SiteError::Section(Section::Names));
    }
    let mut before: &[u8] = b"";
    for (number, record) in site.names.iter().enumerate() {
        let name = NameRecord::decode(record);
        let text = site.text(name.at, name.bytes).unwrap_or_default();
        let is_lower = !text.iter().any(u8::is_ascii_uppercase);
        if text <= before || !is_lower || usize::from(name.host) >= site.hosts.len() {
            return Err(SiteError::Name(number));
        }
        before = text;
    }
    Ok(())
}

fn is_rule_valid(site: &Site<'_>, number: usize) -> bool {
    let Some(rule) = site.rules.get(number).map(RuleRecord::decode) else {
        return false;
    };
    let pattern = usize::from(rule.head_parts) + usize::from(rule.tail_parts);
    let target = usize::from(rule.target_parts);
    let first = rule.first_part as usize;
    let Some((pattern, target)) = site
        .parts
        .get(first..)
        .and_then(|parts| parts.get(..pattern + target))
        .and_then(|parts| parts.split_at_checked(pattern))
    else {
        return false;
    };
    let captures = pattern
        .iter()
        .filter(|part| PartRecord::decode(part).kind == SEGMENT)
        .count()
        + usize::from(rule.splat != NO_SPLAT);
    let is_literal =
        |part: &PartRecord| part.kind == LITERAL && site.text(part.at, part.bytes).is_some();
    let is_action_valid = match rule.action {
        // Its page's identity is where the Location goes.
        crate::records::ACTION_MOVED => site
            .page(rule.page)
            .is_some_and(|page| page.identity().insert_at().is_some()),
        crate::records::ACTION_PAGE => site.page(rule.page).is_some(),
        action => action == ACTION_LOOKUP,
    };
    pattern.len() <= MAX_PARTS
        && target.len() <= MAX_PARTS
        && captures <= MAX_CAPTURES
        && rule.splat <= SPLAT_BELOW
        && (rule.tail_parts == 0 || rule.splat != NO_SPLAT)
        && is_action_valid
        && pattern
            .iter()
            .map(PartRecord::decode)
            .all(|part| part.kind == SEGMENT || is_literal(&part))
        && target.iter().map(PartRecord::decode).all(|part| {
            is_literal(&part)
                || part.kind == CAPTURE && (part.at as usize) < captures
                || part.kind == QUERY
        })
}
