"""Every mapping that is refused: with its line, its reason, and what is allowed.

Each case is a mapping, then the problems that it must be told. The lines that the problems
name end with ``# !``. :func:`rules` writes the file around the rules: tenants with documents
(`docs`) and their `chunks`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.mappings import CHUNK, DOC, HEAD, TAG, expected, problems, rules

Cases = Mapping[str, tuple[str, ...]]

SOUND_RULES = f"rules:\n  doc:\n    {DOC}\n    set: {{docs: [title]}}\n"
RUN = 'item: {PK: "TENANT#{tenant}", SK: "RUN#{run}"}'
ANY_ORDER = HEAD + "ordering: to_the_second\n"
ONLY_PARTITION = """
mapping: 1
table: {partition_key: id}
collections: {products: "PRODUCT#{id}"}
"""


def doc(keys: str) -> str:
    """A mapping with one rule: a document sets *keys* on itself."""
    return rules(f"doc:\n  {DOC}\n  set:\n    docs:\n      {keys}")


def tag(keys: str, *, head: str = HEAD) -> str:
    """A mapping with one rule: each tag of a document sets *keys* on it."""
    return rules(f"tag:\n  {TAG}\n  set:\n    docs:\n      {keys}", head=head)


def run(merge: str) -> str:
    """A mapping with one rule: a run of a tenant."""
    return rules(f"run:\n  {RUN}\n  merge:\n{merge}")


FILES: Cases = {
    "broken": (
        "mapping: 1\nrules: {a: TENANT#{tenant}}  # !",
        "not YAML: expected ',' or '}', but got '{'; quote texts that hold '{', ': ' or ' #'",
    ),
    "two documents": (
        "mapping: 1\n---  # !\nmapping: 1\n",
        "not YAML: but found another document; quote texts that hold '{', ': ' or ' #'",
    ),
    "a control character": ("mapping: 1\n\x07 # !", "not YAML: special characters are not allowed"),
    "empty": ("# !", "the file is empty; begin it with 'mapping: 1'"),
    "a list": ("- mapping # !", "the file must be a table (key: value) that is not empty"),
    "an anchor": (
        (
            "mapping: 1\ntable: {partition_key: &key id}  # !\ncollections: {products: 'P#{id}'}\n"
            "rules: {p: {item: {id: 'P#{id}'}, set: {products: [price]}}}"
        ),
        "anchor '&key': leave it out; aliases are not taken",
    ),
    "an alias": (
        "mapping: 1\ntable: &key {partition_key: id} # !\nrules: *key # !",
        "anchor '&key': leave it out; aliases are not taken",
        "alias '*key': write it out, so that each line says what it says",
    ),
    "an alias of itself": (
        "mapping: 1\nrules: &all  # !\n  again: *all # !",
        "anchor '&all': leave it out; aliases are not taken",
        "alias '*all': write it out, so that each line says what it says",
    ),
    "a tag": (
        doc("title: !!str heading  # !"),
        "tag 'tag:yaml.org,2002:str': leave it out; quotes make a text of anything",
    ),
    "too deep": ("[" * 17 + "  # !", "more than 16 levels; a mapping has no such depth"),
    "half a character": (
        doc(r'title: {value: "\ud83d"}  # !'),
        "a text with half a character in it (a lone surrogate), which nothing can store",
    ),
    "a key that is no text": (
        HEAD + SOUND_RULES + "{a}: b  # !",
        "a key must be text; quote a text that begins with '{' or '['",
    ),
    "no language": (
        (
            "table: {partition_key: id} # !\ncollections: {products: 'P#{id}'}\n"
            "rules: {p: {item: {id: 'P#{id}'}, set: {products: [price]}}}"
        ),
        "the file does not say its language; begin it with 'mapping: 1'",
    ),
    "another language": (
        "mapping: 2 # !\nwhatever: it says",
        "this is mapping language '2'; this release reads language 1: 'mapping: 1'",
    ),
    "a language in words": (
        "mapping: true # !\nwhatever: it says",
        "this is mapping language 'true'; this release reads language 1: 'mapping: 1'",
    ),
    "an unknown key": (
        HEAD + SOUND_RULES + "flat_mesages: {}  # !",
        (
            "unknown key 'flat_mesages' in the file; did you mean 'flat_messages'? "
            "allowed: table, collections, rules, mapping, ordering, flat_messages"
        ),
    ),
    "a missing part": (
        "mapping: 1 # !\ntable: {partition_key: id}",
        (
            "the file lacks 'collections' and 'rules'; "
            "allowed: table, collections, rules, mapping, ordering, flat_messages"
        ),
    ),
    "a repeated key": (
        HEAD + SOUND_RULES + SOUND_RULES.replace("rules:", "rules: # !"),
        "repeated key 'rules' in the file; it stands in line 6 already",
    ),
    "another ordering": (
        HEAD + "ordering: exactly # !\n" + SOUND_RULES,
        "'ordering' cannot be 'exactly'; did you mean 'exact'? allowed: exact, to_the_second",
    ),
    "no partition key": (
        HEAD.replace("partition_key: PK, sort_key: SK}", "sort_key: SK} # !") + SOUND_RULES,
        "'table' lacks 'partition_key'; allowed: partition_key, sort_key",
    ),
    "one key twice": (
        HEAD.replace("sort_key: SK}", "sort_key: PK} # !")
        + "rules: {doc: {item: {PK: 'TENANT#{tenant}'}, removal_deletes: [docs]}}",
        "'partition_key' and 'sort_key' of 'table' name one attribute",
    ),
    "a key attribute of DynamoDB's own": (
        HEAD.replace("sort_key: SK}", "sort_key: 'aws:rep:SK'} # !") + SOUND_RULES,
        "'sort_key' of 'table' is 'aws:rep:SK', but attributes 'aws:rep:*' are not seen",
    ),
}

COLLECTIONS: Cases = {
    "a templated name": (
        HEAD + "  docs_{language}: TENANT#{tenant}#DOC#{doc}#L#{language}  # !\n" + SOUND_RULES,
        (
            "collection 'docs_{language}': names are fixed, for each has its own snapshots; "
            "write one rule for each collection, or keep it as a key of the record"
        ),
    ),
    "a name that Chroma refuses": (
        HEAD + "  ch: TENANT#{tenant}#DOC#{doc}  # !\n" + SOUND_RULES,
        "collection 'ch'; allowed: 3 to 512 of a-z A-Z 0-9 . _ -, letter or digit first and last",
    ),
    "a pattern that is a number": (
        HEAD + "  years: 2024  # !\n" + SOUND_RULES,
        "the ids of 'years' must be a text; put a number, 'true', 'false' or 'null' in quotes",
    ),
    "an unknown collection": (
        rules(f"""
            doc:
              {DOC}
              set:
                doc: [title]  # !
              merge:
                chunk: {{delta: d, state: s}}  # !
              removal_deletes:
                - dcos  # !
        """),
        "rule 'doc': unknown collection 'doc'; did you mean 'docs'? allowed: docs, chunks",
        "rule 'doc': unknown collection 'chunk'; did you mean 'chunks'? allowed: docs, chunks",
        "rule 'doc': unknown collection 'dcos'; did you mean 'docs'? allowed: docs, chunks",
    ),
    "a collection twice in a group": (
        rules(f"doc:\n  {DOC}\n  set:\n    docs, docs:  # !\n      [title]"),
        "rule 'doc': 'docs, docs' names a collection twice",
    ),
    "a collection twice in a list": (
        rules(f"doc:\n  {DOC}\n  removal_deletes: [docs, docs]  # !"),
        "'removal_deletes' of rule 'doc' lists 'docs' twice",
    ),
}

PATTERNS: Cases = {
    "two placeholders in a segment": (
        HEAD + "  pairs: TENANT#{tenant}#{a}{b:05d}  # !\n" + SOUND_RULES,
        "the ids of 'pairs': two placeholders in '{a}{b:05d}': nothing tells where one ends; put '#' between them",
    ),
    "a brace without a placeholder": (
        HEAD + "  pairs: TENANT#{tenant}#{a:5d}  # !\n" + SOUND_RULES,
        (
            "the ids of 'pairs': '{a:5d}' holds a brace that belongs to no placeholder; "
            "write {name} for text, {name:d} or {name:05d} for a number"
        ),
    ),
    "a number here, a text there": (
        rules("""
            chunk:
              item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#CHUNK#{n}"}  # !
              set: {chunks: [title]}
        """),
        "{n} is a number in one place and text in another; write '{n:06d}' in both",
    ),
    "a number in a key's name alone": (
        tag("tag_{tag:d}: {value: true}  # !"),
        "{tag} is a number in one place and text in another; write '{tag:d}' in both",
    ),
    "the reserved placeholder": (
        rules("""
            doc:
              item: {PK: "TENANT#{tenant}", SK: "DOC#{member}"}  # !
              removal_deletes: [docs]
        """),
        "rule 'doc': {member} stands for one of 'members: [...]'; name others otherwise",
    ),
    "an empty id": (
        HEAD + "  none: ''  # !\n" + SOUND_RULES,
        "the ids of 'none' must be a text; put a number, 'true', 'false' or 'null' in quotes",
    ),
}

ITEMS: Cases = {
    "two rules, one item": (
        rules("""
            place:
              item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#PLACE"}
              set: {docs: [place]}
            part:  # !
              item: {PK: "TENANT#{tenant}", SK: "DOC#{doc}#{part}"}
              set: {docs: {parts: {value: 1, fold: count}}}
        """),
        (
            "rules 'place' and 'part' both take the item PK=TENANT#x, SK=DOC#x#PLACE; "
            "an item has one rule: make the keys differ, or join the rules"
        ),
    ),
    "two rules, one item with a number": (
        rules(f"""
            chunk:
              {CHUNK}
              removal_deletes: [chunks]
            part:  # !
              item: {{PK: "TENANT#{{tenant}}", SK: "DOC#{{doc}}#CHUNK#{{part}}"}}
              set: {{docs: {{parts: {{value: 1, fold: count}}}}}}
        """),
        (
            "rules 'chunk' and 'part' both take the item PK=TENANT#x, SK=DOC#x#CHUNK#111111; "
            "an item has one rule: make the keys differ, or join the rules"
        ),
    ),
    "two rules, one item of a table without a sort key": (
        ONLY_PARTITION
        + """
rules:
  product: {item: {id: "PRODUCT#{id}"}, set: {products: [price]}}
  other:  # !
    {item: {id: "PRODUCT#{sku}"}, merge: {products: {delta: d, state: s}}}
ordering: to_the_second
""",
        (
            "rules 'product' and 'other' both take the item id=PRODUCT#x; "
            "an item has one rule: make the keys differ, or join the rules"
        ),
    ),
    "no item": (
        rules("doc:\n  removal_deletes: [docs]  # !"),
        "rule 'doc' lacks 'item'; allowed: item, set, when, merge, removal_deletes",
    ),
    "other key attributes than the table's": (
        rules("""
            doc:
              item: {pk: "TENANT#{tenant}", SK: "DOC#{doc}"}  # !
              removal_deletes: [docs]
        """),
        "unknown key 'pk' in 'item' of rule 'doc'; did you mean 'PK'? allowed: PK, SK",
        "'item' of rule 'doc' lacks 'PK'; allowed: PK, SK",
    ),
    "a repeated rule": (
        rules(f"doc:\n  {DOC}\n  removal_deletes: [docs]\ndoc:  # !\n  {CHUNK}\n  removal_deletes: [chunks]"),
        "repeated key 'doc' in 'rules'; it stands in line 7 already",
    ),
    "an unknown part of a rule": (
        rules(f"doc:\n  {DOC}\n  sets: {{docs: [title]}}  # !\n  removal_deletes: [docs]"),
        "unknown key 'sets' in rule 'doc'; did you mean 'set'? allowed: item, set, when, merge, removal_deletes",
    ),
    "no effect": (
        rules(f"doc:  # !\n  {DOC}"),
        "rule 'doc' has no effect; allowed: set, merge, removal_deletes",
    ),
    "nothing to set": (
        rules(f"doc:\n  {DOC}\n  set:  # !"),
        "'set' of rule 'doc' must be a table (key: value) that is not empty",
    ),
    "an empty list": (
        rules(f"doc:\n  {DOC}\n  removal_deletes: []  # !"),
        "'removal_deletes' of rule 'doc' must be a list ([a, b]) that is not empty",
    ),
}

REACH: Cases = {
    "every record": (
        rules("""
            config:  # !
              item: {PK: "CONFIG#{name}", SK: "CONFIG"}
              set: {chunks: [model]}
        """),
        (
            "rule 'config' reaches every record of 'chunks': its key has no {tenant}, with which the ids begin; "
            "make an item for each {tenant}: put them in its key"
        ),
    ),
    "not a prefix": (
        rules("""
            chunk:  # !
              item: {PK: "TENANT#{tenant}", SK: "CHUNK#{n:06d}"}
              removal_deletes: [chunks]
        """),
        (
            "rule 'chunk' knows {n} but not {doc}, which stands before it in the ids of 'chunks'; "
            "a rule reaches one id or all below a prefix"
        ),
    ),
    "not even the first": (
        rules("""
            doc:  # !
              item: {PK: "DOC#{doc}", SK: "DOC"}
              removal_deletes: [docs]
        """),
        (
            "rule 'doc' knows {doc} but not {tenant}, which stands before it in the ids of 'docs'; "
            "a rule reaches one id or all below a prefix"
        ),
    ),
    "a shared record is removed": (
        rules(f"chunk:  # !\n  {CHUNK}\n  removal_deletes: [docs, chunks]"),
        "rule 'chunk': several items (one for each {n}) share a record of 'docs'; removing one of them would delete it",
    ),
    "a run of other partitions": (
        ONLY_PARTITION
        + """
rules:
  run:  # !
    item: {id: "RUN#{run_id}"}
    merge: {products: {delta: address, state: state}}
""",
        (
            "rule 'run': ids of 'products' do not begin with the item's partition key 'RUN#{run_id}', so changes of two "
            "items cannot be ordered exactly; begin the ids with it, keep the item in the records' partition, "
            "or write 'ordering: to_the_second'"
        ),
    ),
    "a partition key that is written otherwise in the ids": (
        HEAD.replace("docs: TENANT#{tenant}", "docs: tenant-{tenant}") + SOUND_RULES.replace("doc:", "doc:  # !", 1),
        (
            "rule 'doc': ids of 'docs' do not begin with the item's partition key 'TENANT#{tenant}', so changes of two "
            "items cannot be ordered exactly; begin the ids with it, keep the item in the records' partition, "
            "or write 'ordering: to_the_second'"
        ),
    ),
}

KEYS: Cases = {
    "neither list nor table": (
        rules(f"doc:\n  {DOC}\n  set:\n    docs: title  # !"),
        "rule 'doc', docs must be a list of attributes, or a table (key: attribute)",
    ),
    "a placeholder that the key lacks": (
        tag("lang_{language}: {value: true}  # !"),
        (
            "rule 'tag', key 'lang_{language}': {language} is not in the item's key; names come from the key alone, or a "
            "changed attribute would leave its old name behind; list the values ('members: [...]') or make each an item "
            "of its own; allowed: tenant, doc, tag"
        ),
    ),
    "a placeholder misspelt": (
        tag("tag_{tags}: {value: true}  # !"),
        (
            "rule 'tag', key 'tag_{tags}': {tags} is not in the item's key; names come from the key alone, or a "
            "changed attribute would leave its old name behind; list the values ('members: [...]') or make each an item "
            "of its own; did you mean 'tag'? allowed: tenant, doc, tag"
        ),
    ),
    "a name that begins with a placeholder": (
        tag("'{tag}': {value: true}  # !"),
        (
            "rule 'tag', docs, key '{tag}': a name cannot begin with a placeholder or with 'chroma:', "
            "which is Chroma's own"
        ),
    ),
    "a name that begins with a number": (
        rules(f"chunk:\n  {CHUNK}\n  set:\n    chunks:\n      '{{n:06d}}': title  # !"),
        (
            "rule 'chunk', chunks, key '{n:06d}': a name cannot begin with a placeholder or with 'chroma:', "
            "which is Chroma's own"
        ),
    ),
    "a name of Chroma's own": (
        doc("chroma:document: title  # !"),
        (
            "rule 'doc', docs, key 'chroma:document': a name cannot begin with a placeholder or with 'chroma:', "
            "which is Chroma's own"
        ),
    ),
    "a name that can become one of Chroma's own": (
        tag("chroma{tag}: {value: true}  # !"),
        (
            "rule 'tag', docs, key 'chroma{tag}': a name cannot begin with a placeholder or with 'chroma:', "
            "which is Chroma's own"
        ),
    ),
    "an empty name": (
        doc("'': title  # !"),
        (
            "rule 'doc', docs, key '': an empty pattern fits nothing; "
            "write {name} for text, {name:d} or {name:05d} for a number"
        ),
    ),
    "a template in a list": (
        rules(f"tag:\n  {TAG}\n  set:\n    docs:\n      - tag_{{tag}}  # !"),
        "rule 'tag', docs: 'tag_{tag}' in a list is an attribute; write 'key: attribute'",
    ),
    "an attribute twice in a list": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title, title]}}  # !"),
        "rule 'doc', docs lists 'title' twice",
    ),
    "an attribute that is a number": (
        doc("price: 5  # !"),
        (
            "the attribute of rule 'doc', docs, key 'price' must be a text; "
            "put a number, 'true', 'false' or 'null' in quotes"
        ),
    ),
    "an attribute of DynamoDB's own": (
        doc("region: aws:rep:updateregion  # !"),
        (
            "the attribute of rule 'doc', docs, key 'region' is 'aws:rep:updateregion', "
            "but attributes 'aws:rep:*' are not seen"
        ),
    ),
    "two owners": (
        rules(f"""
            doc:
              {DOC}
              set: {{chunks: [title]}}
            chunk:
              {CHUNK}
              set:
                chunks:
                  title: heading  # !
        """),
        (
            "key 'title' of 'chunks' is set here and in line 9 ('title'); "
            "a key has one owner, or the later message would win: rename one"
        ),
    ),
    "two owners in one rule": (
        rules(f"""
            doc:
              {DOC}
              set:
                docs: [title]
                docs, chunks:
                  title: heading  # !
        """),
        (
            "key 'title' of 'docs' is set here and in line 10 ('title'); "
            "a key has one owner, or the later message would win: rename one"
        ),
    ),
    "two templated names that can meet": (
        rules(f"""
            tag:
              {TAG}
              set: {{docs: {{"tag_{{tag}}": {{value: true}}}}}}
            topic:
              item: {{PK: "TENANT#{{tenant}}", SK: "DOC#{{doc}}#TOPIC#{{topic}}"}}
              set:
                docs:
                  tag_of_{{topic}}: {{value: true}}  # !
        """),
        (
            "key 'tag_of_{topic}' of 'docs' is set here and in line 9 ('tag_{tag}'); "
            "a key has one owner, or the later message would win: rename one"
        ),
    ),
    "a member and a fixed name": (
        doc("is_new: fresh\n      is_{member}: {from: tags, members: [sale, new]}  # !"),
        (
            "key 'is_new' of 'docs' is set here and in line 11 ('is_new'); "
            "a key has one owner, or the later message would win: rename one"
        ),
    ),
}

VALUES: Cases = {
    "no source": (
        doc("title: {otherwise: none}  # !"),
        "rule 'doc', docs, key 'title' needs 'from: attribute' or 'value: constant', and only one of them",
    ),
    "two sources": (
        doc("title: {from: title, value: none}  # !"),
        "rule 'doc', docs, key 'title' needs 'from: attribute' or 'value: constant', and only one of them",
    ),
    "an unknown part": (
        doc("title: {from: title, default: none}  # !"),
        (
            "unknown key 'default' in rule 'doc', docs, key 'title'; "
            "allowed: from, value, values, otherwise, members, fold"
        ),
    ),
    "a constant with otherwise": (
        doc("kind: {value: doc, otherwise: none}  # !"),
        "rule 'doc', docs, key 'kind': 'value' is one constant for every item; leave 'otherwise' out",
    ),
    "a constant that is null": (
        doc("kind: {value: null}  # !"),
        "'value' of rule 'doc', docs, key 'kind' must be a text, a number, true or false; leave it out to give nothing",
    ),
    "a constant that is a list": (
        doc("kind: {value: [a, b]}  # !"),
        "'value' of rule 'doc', docs, key 'kind' must be a text, a number, true or false; leave it out to give nothing",
    ),
    "a constant beyond 64 bits": (
        doc("kind: {value: 9223372036854775808}  # !"),
        "'value' of rule 'doc', docs, key 'kind' must be a finite number, and within 64 bits if it is whole",
    ),
    "a constant that is no number": (
        doc("kind: {value: .nan}  # !"),
        "'value' of rule 'doc', docs, key 'kind' must be a finite number, and within 64 bits if it is whole",
    ),
    "an infinite constant": (
        doc("kind: {value: -.Inf}  # !"),
        "'value' of rule 'doc', docs, key 'kind' must be a finite number, and within 64 bits if it is whole",
    ),
    "no values": (
        doc("kind: {from: kind, values: {}}  # !"),
        "'values' of rule 'doc', docs, key 'kind' must be a table (key: value) that is not empty",
    ),
    "a value that gives null": (
        doc("kind: {from: kind, values: {a: null}}  # !"),
        (
            "'a' in 'values' of rule 'doc', docs, key 'kind' must be a text, a number, true or false; "
            "leave it out to give nothing"
        ),
    ),
    "one number in two spellings": (
        doc("kind: {from: kind, values: {1: a, 1.0: b}}  # !"),
        "repeated key '1.0' in 'values' of rule 'doc', docs, key 'kind'; it stands in line 11 already",
    ),
    "values and members": (
        doc("is_{member}: {from: tags, members: [new], values: {new: true}}  # !"),
        "rule 'doc', docs, key 'is_{member}': 'values' and 'members' exclude each other",
    ),
    "members without a place in the name": (
        doc("tags: {from: tags, members: [new]}  # !"),
        "rule 'doc', docs, key 'tags': 'members' makes one key for each; write {member} into the name",
    ),
    "a place for members without members": (
        doc("is_{member}: {from: tags}  # !"),
        "rule 'doc', docs, key 'is_{member}': {member} needs 'members: [...]', the members that get a key",
    ),
    "a member that is a number": (
        doc("is_{member}: {from: tags, members: [2024]}  # !"),
        (
            "each of 'members' of rule 'doc', docs, key 'is_{member}' must be a text; "
            "put a number, 'true', 'false' or 'null' in quotes"
        ),
    ),
    "a member twice": (
        doc("is_{member}: {from: tags, members: [new, new]}  # !"),
        "'members' of rule 'doc', docs, key 'is_{member}' lists 'new' twice",
    ),
    "a member with a brace": (
        doc("is_{member}: {from: tags, members: ['{tenant}']}  # !"),
        "rule 'doc', docs, key 'is_{member}': the member '{tenant}' holds a brace, which no name can",
    ),
}

CONDITIONS: Cases = {
    "no conditions": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title]}}\n  when: live  # !"),
        "'when' of rule 'doc' must be a table (key: value) that is not empty",
    ),
    "nothing to decide about": (
        rules(f"doc:\n  {DOC}\n  removal_deletes: [docs]\n  when: {{status: live}}  # !"),
        "rule 'doc': 'when' decides about 'set' alone; merging begins with PENDING, deleting with REMOVE",
    ),
    "an unknown condition": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title]}}\n  when: {{status: {{is: live}}}}  # !"),
        "unknown key 'is' in 'status' in 'when' of rule 'doc'; allowed: not, present",
    ),
    "two conditions on one attribute": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title]}}\n  when: {{status: {{not: [a], present: true}}}}  # !"),
        "'status' in 'when' of rule 'doc': 'not' and 'present' exclude each other",
    ),
    "absence": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title]}}\n  when: {{status: {{present: false}}}}  # !"),
        "'present' of 'status' in 'when' of rule 'doc'; allowed: true",
    ),
    "not a list": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title]}}\n  when: {{status: {{not: a}}}}  # !"),
        "'not' of 'status' in 'when' of rule 'doc' must be a list ([a, b]) that is not empty",
    ),
    "a condition on null": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title]}}\n  when: {{status: null}}  # !"),
        (
            "a value of 'status' in 'when' of rule 'doc' must be a text, a number, true or false; "
            "leave it out to give nothing"
        ),
    ),
    "a condition on DynamoDB's own": (
        rules(f"doc:\n  {DOC}\n  set: {{docs: [title]}}\n  when: {{'aws:rep:deleting': true}}  # !"),
        "an attribute in 'when' of rule 'doc' is 'aws:rep:deleting', but attributes 'aws:rep:*' are not seen",
    ),
}

FOLDS: Cases = {
    "none where several items feed a key": (
        tag("tagged: {value: true}  # !"),
        (
            "rule 'tag', docs, key 'tagged': several items feed it (one for each {tag}); "
            "say how they become one with 'fold'; allowed: any, count, newest, {first: [...]}"
        ),
    ),
    "none where items of several partitions feed a key": (
        rules(
            """
            view:
              item: {PK: "USER#{user}", SK: "VIEW#{tenant}#{doc}"}
              set:
                docs:
                  seen: {value: true}  # !
            """,
            head=ANY_ORDER,
        ),
        (
            "rule 'view', docs, key 'seen': several items feed it (one for each {user}); "
            "say how they become one with 'fold'; allowed: any, count, {first: [...]}"
        ),
    ),
    "one where one item feeds a key": (
        tag("tag_{tag}: {value: true, fold: any}  # !"),
        "rule 'tag', docs, key 'tag_{tag}': only one item feeds it; leave 'fold' out",
    ),
    "newest across partitions": (
        rules(
            """
            view:
              item: {PK: "USER#{user}", SK: "VIEW#{tenant}#{doc}"}
              set:
                docs:
                  last_seen: {from: at, fold: newest}  # !
            """,
            head=ANY_ORDER,
        ),
        (
            "rule 'view', docs, key 'last_seen': items of different partition keys feed it, and which is newest "
            "is not exact; allowed: any, count, {first: [...]}"
        ),
    ),
    "an unknown one": (
        tag("tagged: {value: true, fold: counts}  # !"),
        (
            "rule 'tag', docs, key 'tagged': unknown fold 'counts'; did you mean 'count'? "
            "allowed: any, count, newest, {first: [...]}"
        ),
    ),
    "an unknown one with a list": (
        tag("tagged: {value: a, fold: {last: [a]}}  # !"),
        "unknown key 'last' in 'fold' of rule 'tag', docs, key 'tagged'; allowed: first",
        "'fold' of rule 'tag', docs, key 'tagged' lacks 'first'; allowed: first",
    ),
    "any of texts": (
        tag("tagged: {from: state, values: {ok: true, bad: 'no'}, fold: any}  # !"),
        "rule 'tag', docs, key 'tagged': 'fold: any' needs true and false, not 'no'",
    ),
    "any of otherwise": (
        tag("tagged: {from: state, values: {ok: true}, otherwise: 'no', fold: any}  # !"),
        "rule 'tag', docs, key 'tagged': 'fold: any' needs true and false, not 'no'",
    ),
    "any of anything": (
        tag("tagged: {from: state, fold: any}  # !"),
        (
            "rule 'tag', docs, key 'tagged': 'fold: any' needs listed values, but attribute 'state' can hold any; "
            "list them with 'values'"
        ),
    ),
    "first of anything": (
        tag("tagged: {from: state, fold: {first: [a, b]}}  # !"),
        (
            "rule 'tag', docs, key 'tagged': 'fold: first' needs listed values, but attribute 'state' can hold any; "
            "list them with 'values'"
        ),
    ),
    "first of too few": (
        tag("level: {from: state, values: {a: high, b: low}, otherwise: none, fold: {first: [high, low]}}  # !"),
        (
            "rule 'tag', docs, key 'level': 'first' must list exactly the values that items can give; "
            "allowed: 'high', 'low', 'none'"
        ),
    ),
    "first of too many": (
        tag("level: {from: state, values: {a: high, b: low}, fold: {first: [high, low, none]}}  # !"),
        (
            "rule 'tag', docs, key 'level': 'first' must list exactly the values that items can give; "
            "allowed: 'high', 'low'"
        ),
    ),
    "first of another type": (
        tag("level: {from: state, values: {a: 1, b: true}, fold: {first: ['1', 'true']}}  # !"),
        "rule 'tag', docs, key 'level': 'first' must list exactly the values that items can give; allowed: 1, true",
    ),
    "first with one value twice": (
        tag("level: {from: state, values: {a: 1, b: true}, fold: {first: [1, true]}}  # !"),
        "rule 'tag', docs, key 'level': 'first' lists a value twice (1, 1.0 and true are one here); each has one rank",
    ),
    "first of none": (
        tag("level: {from: state, values: {a: 1}, fold: {first: []}}  # !"),
        "'first' of rule 'tag', docs, key 'level' must be a list ([a, b]) that is not empty",
    ),
}

RUNS: Cases = {
    "an address instead of an attribute": (
        run("    docs: {delta: s3://b/x, state: state}  # !"),
        (
            "'s3://b/x' is an address; 'delta' names the attribute that holds it, "
            "and where deltas may lie is the setting CHROMA_LIFECYCLE_DELTAS"
        ),
    ),
    "no state": (
        run("    docs: {delta: address}  # !"),
        "'merge' of rule 'run', docs lacks 'state'; allowed: delta, state, count, error, finished_at",
    ),
    "an unknown attribute": (
        run("    docs: {delta: address, state: state, errors: error}  # !"),
        (
            "unknown key 'errors' in 'merge' of rule 'run', docs; did you mean 'error'? "
            "allowed: delta, state, count, error, finished_at"
        ),
    ),
    "one state of two collections": (
        run("    docs: {delta: docs_delta, state: state}\n    chunks: {delta: chunks_delta, state: state}  # !"),
        "rule 'run': 'state' of chunks writes 'state', which 'state' of docs holds; give it an attribute of its own",
    ),
    "a state where the other's delta is": (
        run("    docs: {delta: delta, state: state}\n    chunks: {delta: other, state: delta}  # !"),
        "rule 'run': 'state' of chunks writes 'delta', which 'delta' of docs holds; give it an attribute of its own",
    ),
    "a delta where the other's state is": (
        run("    docs: {delta: delta, state: state}\n    chunks: {delta: state, state: other}  # !"),
        "rule 'run': 'state' of docs writes 'state', which 'delta' of chunks holds; give it an attribute of its own",
    ),
    "a count where the error is": (
        run("    docs: {delta: delta, state: state, count: outcome, error: outcome}  # !"),
        "rule 'run': 'error' of docs writes 'outcome', which 'count' of docs holds; give it an attribute of its own",
    ),
    "a state in the table's key": (
        run("    docs: {delta: delta, state: SK}  # !"),
        "rule 'run': 'state' of docs writes 'SK', which the table's key holds; give it an attribute of its own",
    ),
    "a condition": (
        rules(f"run:\n  {RUN}\n  merge: {{docs: {{delta: d, state: s}}}}\n  when: {{kind: full}}  # !"),
        "rule 'run': 'when' decides about 'set' alone; merging begins with PENDING, deleting with REMOVE",
    ),
}


def messages(flat: str) -> str:
    """A mapping with a run, a rule that sets, a rule that deletes, and these flat messages."""
    sound = rules(f"""
        run:
          {RUN}
          merge: {{docs: {{delta: d, state: s}}}}
        doc:
          {DOC}
          set: {{docs: [title]}}
        chunk:
          {CHUNK}
          removal_deletes: [chunks]
    """)
    return f"{sound}flat_messages:\n  {flat}"


FLAT_MESSAGES: Cases = {
    "an unknown rule": (
        messages("CHUNK: {rule: chunks}  # !"),
        "'rule' of flat message 'CHUNK' cannot be 'chunks'; did you mean 'chunk'? allowed: run, doc, chunk",
    ),
    "no rule": (
        messages("CHUNK: {image_from: [changes]}  # !"),
        "flat message 'CHUNK' lacks 'rule'; allowed: rule, delta_from, image_from",
    ),
    "an unknown place": (
        messages("DOC: {rule: doc, image_from: [changes, snapshot]}  # !"),
        (
            "each of 'image_from' of flat message 'DOC' cannot be 'snapshot'; did you mean 'record_snapshot'? "
            "allowed: changes, entity_data, record_snapshot"
        ),
    ),
    "a delta for nobody": (
        messages("CHUNK: {rule: chunk, delta_from: prefix}  # !"),
        "flat message 'CHUNK': rule 'chunk' merges nothing; leave 'delta_from' out",
    ),
    "an image for nobody": (
        messages("CHUNK: {rule: chunk, image_from: [changes]}  # !"),
        "flat message 'CHUNK': rule 'chunk' reads no attribute; leave 'image_from' out",
    ),
    "no image": (
        messages("DOC: {rule: doc}  # !"),
        (
            "flat message 'DOC': rule 'doc' sets keys, which every message without an image would take away; "
            "name the image's place with 'image_from'; allowed: changes, entity_data, record_snapshot"
        ),
    ),
    "no delta": (
        messages("RUN: {rule: run}  # !"),
        "flat message 'RUN': no message could begin a run of rule 'run'; add 'delta_from'",
    ),
}

ALL = {
    f"{group}: {name}": case
    for group, cases in {
        "file": FILES,
        "collections": COLLECTIONS,
        "patterns": PATTERNS,
        "items": ITEMS,
        "reach": REACH,
        "keys": KEYS,
        "values": VALUES,
        "conditions": CONDITIONS,
        "folds": FOLDS,
        "runs": RUNS,
        "flat messages": FLAT_MESSAGES,
    }.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", ALL)
def test_a_wrong_mapping_is_refused_with_its_lines(case: str) -> None:
    """A wrong mapping is refused, each problem with file, line, reason and choices."""
    text, *told = ALL[case]

    assert expected(text, *told) == problems(text)


def test_all_problems_are_told_at_once() -> None:
    """A mapping is mended in one go: problems of every kind are told together, in the order of the file."""
    text = rules(f"""
        doc:  # !
          item: {{PK: "TENANT#{{tenant}}", SK: "DOC#{{doc}}#{{a}}{{b}}"}}  # !
          sets: {{docs: [title]}}  # !
        tag:
          {TAG}
          set: {{docs: {{tagged: {{value: true}}}}}}  # !
    """)

    assert expected(
        text,
        "rule 'doc' has no effect; allowed: set, merge, removal_deletes",
        "rule 'doc': two placeholders in '{a}{b}': nothing tells where one ends; put '#' between them",
        "unknown key 'sets' in rule 'doc'; did you mean 'set'? allowed: item, set, when, merge, removal_deletes",
        "rule 'tag', docs, key 'tagged': several items feed it (one for each {tag}); "
        "say how they become one with 'fold'; allowed: any, count, newest, {first: [...]}",
    ) == problems(text)
