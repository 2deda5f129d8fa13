//! What others write, changed by a seed in thousands of ways: it is understood, or refused, and
//! nothing else.

#[path = "foreign/parsers.rs"]
mod parsers;

use e2e::mutated;

/// So many changes of each input.
const SEEDS: u64 = 2_000;

const ANSWERS: [&str; 5] = [
    "201\ncontent-type: application/json\n\n{\"code\":\"가나다라12\",\"seq\":1,\"remaining\":9}",
    "200\nx-left: 0\n\n{\"data\":{\"items\":[{\"state\":\"won\",\"code\":\"A\"},{}]}}",
    "409\n\n{\"n\":4.5e0,\"code\":\"resource_exhausted\",\"message\":\"none\"}",
    "403\nset-cookie: a=b; path=/\n\nnot yet started",
    "503\n\n",
];

#[test]
fn any_answer_has_a_meaning_or_none() {
    let rules = parsers::rules();
    for answer in ANSWERS {
        (0..SEEDS * 3).for_each(|seed| parsers::answer(&rules, &mutated(answer.as_bytes(), seed)));
    }
}

#[test]
fn any_scenario_is_understood_or_refused() {
    let shipped = [
        include_str!("good.yaml"),
        include_str!("../../scenarios/launch.yaml"),
        include_str!("../../scenarios/shapes/accepted-then-poll.yaml"),
        include_str!("../../scenarios/shapes/reserve-and-confirm.yaml"),
        include_str!("../../scenarios/shapes/jwt-header.yaml"),
    ];
    for scenario in shipped {
        (0..SEEDS / 2).for_each(|seed| parsers::scenario(&mutated(scenario.as_bytes(), seed)));
    }
}
