"""The rules that manifests are held to: id → what it demands. Reports and the docs use the ids."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["PROBLEMS", "WARNINGS"]

PROBLEMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # files
        "no-such-path": "Every path that is named exists.",
        "no-manifest": "What is named holds manifests.",
        "unreadable-file": "A file can be read, and is a regular one.",
        "file-too-large": "A file has at most 8 MB.",
        "encoding": "A file is UTF-8 without byte order mark.",
        # text
        "yaml-syntax": "A file is YAML or JSON.",
        "control-character": "No control characters, except as escapes.",
        "tag": "No YAML tags: manifests hold plain values.",
        "duplicate-key": "A key is written once in its mapping.",
        "key-not-text": "A key is text; numbers and booleans as keys are quoted.",
        "bad-number": "A number is finite, and fits 64 bits.",
        "bad-alias": "An alias names an anchor above it, and does not contain itself.",
        "bad-merge": "<< takes a mapping or a list of mappings.",
        "too-deep": "At most 64 levels of nesting.",
        "too-many-values": "A file holds at most a million values.",
        "too-many-problems": "After 1,000 problems a file is not read on.",
        "too-many-aliases": "Aliases expand to at most 100,000 values in a file.",
        # documents
        "not-a-manifest": "A document is a mapping.",
        "missing-kind": "A document says its kind.",
        "unknown-kind": "The kind is one that is known.",
        "duplicate-name": "A name is declared once for its kind, over all files.",
        # references
        "unknown-reference": "${…} is ${env:NAME}, ${file:path}, ${cmd:command} or ${var.name}.",
        "reference-in-key": "References stand in values only.",
        "unset-variable": "A variable that is referred to is set.",
        "bad-variable": "A variable is UTF-8 and gives what its field takes.",
        "missing-file": "A file that is referred to exists.",
        "bad-file": "A file that is referred to is a regular UTF-8 file of at most 64 KB.",
        "file-outside": "A file that is referred to lies in the project's folder or the manifest's.",
        "command-not-allowed": "Commands run only where the project file or the command line allows them.",
        "command-misplaced": "A command stands only where a secret is taken.",
        "bad-command": "A command can be split into words, and the first names a program.",
        "command-failed": "A command ends well, within 30 seconds, with at most 64 KB of UTF-8 text.",
        "empty-secret": "A secret is not empty.",
        # environments
        "undefined-variable": "A variable that is referred to is declared for the environment.",
        "unused-variable": "A variable is used somewhere, in one environment at least.",
        "variable-of-variable": "A variable does not refer to other variables.",
        "unknown-environment": "The default environment is one of those declared.",
        "promoted-path": "What may be promoted is a field of its kind.",
        "overlay-of-nothing": "An overlay patches what a manifest declares.",
        "overlay-patch": "$remove and $replace are true, and stand where there is something to take away.",
        "overlay-removes-nothing": "An overlay removes only what is there.",
        "overlay-item-without-key": "A patched item of a list says which item it is.",
        # schema
        "unknown-field": "Fields are those of the schema, unless metadata.allow_unknown_fields is true.",
        "missing-field": "Required fields are there.",
        "wrong-type": "A value has the type of its field.",
        "unknown-value": "A value is one of those that the field takes.",
        "wrong-format": "Text has the form that the field takes.",
        "wrong-length": "Text is as long as the field takes.",
        "out-of-range": "A number is in the range of its field.",
        "too-few": "A list holds as much as its field needs.",
        "too-many": "A list or mapping holds no more than its field takes.",
        "schema": "The document fits the schema of its kind.",
        # annotations of the schema
        "plaintext-secret": "No secret in plain text.",
        "secret-reference": "A field for a secret reference holds {{secrets/scope/key}}.",
        "computed-field": "Fields that the server computes are not written.",
        "exactly-one": "Of some fields exactly one is written.",
        "at-most-one": "Of some fields at most one is written.",
        "at-least-one": "Of some fields at least one is written.",
        "all-or-none": "Some fields are written together or not at all.",
        "conflicting-fields": "Some fields are not written together.",
        "missing-block": "A choice needs the block that goes with it.",
        "wrong-block": "No block is written that goes with another choice.",
        "min-over-max": "A lower bound is not above its upper one.",
        "duplicate-item": "Items of a list that are matched by key have keys of their own.",
        "cannot-clear": "A section that the API cannot clear is not written empty.",
        "not-in-variant": "Only sections that the provisioned-throughput API takes are written for it.",
        "excluded-section": "Sections that exclude each other are not written together.",
        "ignored-path": "lifecycle.ignore_changes names fields that exist.",
        "moved-nowhere": "lifecycle.moved_from is another name than the present one.",
        "moved-and-declared": "What lifecycle.moved_from names is not declared beside it.",
        "moved-twice": "Only one resource moves from a name.",
        # kind Endpoint
        "unknown-entity": "A route names a served entity.",
        "traffic-sum": "The shares of the routes sum to 100.",
        "missing-routes": "Several served entities need routes, or, all external, fallback.",
        "mixed-models": "External and custom models do not share an endpoint.",
        "mixed-tasks": "The external models of an endpoint do one task.",
        "reserved-tag": "The tags reconciler.stack and reconciler.protected are not written by hand.",
        # MLflow AI Gateways
        "no-weight": "Of an endpoint's models one has a weight above 0.",
        "budget-target": "A budget has a target where its scope needs one, and nowhere else.",
        "duplicate-budget": "One budget for each scope, target and window, over all files.",
    }
)

WARNINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "unknown-word": "A word is none of those known today; it is sent as it is.",
        "unknown-field-passed": "A field that the schema does not know is passed to the API.",
        "maybe-secret": "A variable whose name looks secret holds plain text.",
        "fallback-needs-several": "Fallback does nothing with one served entity.",
    }
)
