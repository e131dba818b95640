"""Headers in many languages give one small vocabulary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radstart.ingest import anatomy
from radstart.ingest.anatomy import REGIONS, laterality, region, view

SAID = {
    "head": "HEAD, SKULL, CT Kopf nativ, IRM cérébrale, TC de cráneo, TC encefalo, RM crânio, "
    "MR mozga, CT glave, MRI hersenen, Schädel, SCHAEDEL, NNH, BRAIN, JAW, CCT",
    "neck": "NECK, CT Hals mit KM, TDM cou, TC cuello, collo, TC pescoço, CT vrata, Schilddrüse",
    "chest": "CHEST, Thorax p.a., Lunge, RX tórax PA y LAT, torace, TC tórax, RTG toraksa, "
    "srce i pluća, Thorax bed, poumon, CHEST 2VW, LUNG^ROUTINE (Adult), thorax face",
    "heart": "HEART, Herz, coronarographie, corazón, cuore, coração, koronarografija, hart",
    "breast": "BREAST, Mamma, seins, mamografía, mammella, mamas, dojke, mammografie, BREAST_SPOT",
    "abdomen": "ABDOMEN, Oberbauch, foie, hígado, addome, fígado, jetre, buik, KUB, LIVER, "
    "Abdomen^01_AbdRoutine, bubrega",
    "pelvis": "PELVIS, Becken, bassin, próstata, bacino, bacia, zdjelica, bekken, BECKENUEBERSICHT",
    "spine": "CSPINE, TSPINE, LSPINE, SPINE, HWS in 2 Ebenen, Lendenwirbelsäule, "
    "LENDENWIRBELSAEULE, rachis lombaire, columna lumbar, rachide cervicale, coluna lombar, "
    "LS kralježnice, wervelkolom, C-Spine, CSpine lat, L-SPINE, colonna dorsale, thoracic spine",
    "shoulder": "SHOULDER, Schulter re, épaule gauche, hombro, spalla dx, ombro, ramena, schouder",
    "elbow": "ELBOW, Ellenbogen, coude, codo, gomito, cotovelo, lakat, elleboog",
    "wrist": "WRIST, Handgelenk, poignet, muñeca, polso, punho, ručni zglob, pols",
    "hand": "HAND, MAIN, Hand bds, mano, mão, šaka, Finger, doigt, vinger, bone age",
    "hip": "HIP, Hüfte, HUEFTE, hanche, cadera, anca, quadril, kuk, heup, femoral head, "
    "col fémoral, neck of femur",
    "thigh": "FEMUR, Oberschenkel, cuisse, muslo, coscia, coxa, natkoljenica, bovenbeen",
    "knee": "KNEE, Kniegelenk, genou, rodilla, ginocchio, joelho, koljeno, knie, PATELLA",
    "leg": "LEG, Unterschenkel, jambe, pierna, gamba, perna, potkoljenica, onderbeen, TIBIA",
    "ankle": "ANKLE, Sprunggelenk, cheville, tobillo, caviglia, tornozelo, gležanj, enkel",
    "foot": "FOOT, Fuß, pied, pie, piede, pé, stopalo, voet, TOE, CALCANEUS, Füße, FUESSE",
    "arm": "ARM, HUMERUS, Oberarm, bras, brazo, braccio, braço, nadlaktica, bovenarm",
    "forearm": "FOREARM, Unterarm, avant-bras, antebrazo, avambraccio, podlaktica, onderarm",
    "whole body": "WHOLEBODY, whole body, Ganzkörper, corps entier, cuerpo entero",
    "chest+abdomen+pelvis": "CT chest/abdomen/pelvis, CHESTABDPELVIS, TAP, CT CAP, "
    "Thorax Abdomen Becken, ThoraxAbdomenBecken, toracoabdominopélvico",
    "abdomen+pelvis": "ABDOMENPELVIS, CT abdomen & pelvis, ABDOMEN_PELVIS, addome e pelvi, "
    "abdomena i zdjelice",
    "chest+abdomen": "CHESTABDOMEN, ThoraxAbdomen, thorax-abdomen",
    "head+neck": "HEADNECK, HEAD AND NECK, Kopf-Hals",
    "": "EXTREMITY, T1 SE axial, main, localizer, DWI b1000, 12345, Head First Supine, spineless, "
    "headline, chesterfield, HeadCoil, long axis, flow rate, UNKNOWN, ^^^, , abdominoplasty x",
}
CASES = [(text.strip(), name) for name, texts in SAID.items() for text in texts.split(",")]


@pytest.mark.parametrize(("text", "name"), CASES)
def test_regions_in_many_languages(text, name):
    tag = "description" if text in ("main",) else "body_part"
    assert region({tag: text}) == (name, tag if name else "")


def test_unknown_words_are_not_guessed():
    assert region({"body_part": "thorakoabdominal Becken"}) == ("pelvis", "body_part")


def test_the_tag_that_decided_is_told_never_its_text():
    tags = {"body_part": "EXTREMITY", "description": "Müller Hans Knie", "protocol": "Hand"}
    assert region(tags) == ("knee", "description")
    assert region({"body_part": None, "protocol": "Hand"}) == ("hand", "protocol")
    assert region({}) == ("", "")
    for name, tag in (region(tags), view(tags), laterality(tags)):
        assert "Hans" not in name + tag


def test_every_word_of_the_table_is_found():
    weak = {" ".join(words) for words in anatomy._spelled(anatomy._table()["weak"]["phrases"])}
    for name in REGIONS:
        for phrases in anatomy._table()["regions"][name].values():
            for phrase in phrases:
                assert region({"description": phrase.upper()}) == (name, "description"), phrase
                assert region({"description": f"xy {phrase} zz"})[0] == name, phrase
    assert "face" in weak


def test_no_word_means_two_regions():
    seen = {}
    for name in REGIONS:
        for phrases in anatomy._table()["regions"][name].values():
            for words in anatomy._spelled(phrases):
                assert words
                assert seen.setdefault(words, name) == name
    for part in ("views", "sides"):
        seen = {}
        for name, phrases in anatomy._table()[part].items():
            for words in anatomy._spelled(phrases):
                assert seen.setdefault(words, name) == name


AX, SAG, COR = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1)
TILTED = (1.0, 0, 0, 0, float(np.cos(0.7)), float(np.sin(0.7)))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"modality": "CR", "view": "AP"}, ("ap", "view")),
        ({"modality": "DX", "view": "LL"}, ("lateral", "view")),
        ({"modality": "DX", "description": "Thorax p.a."}, ("pa", "description")),
        ({"modality": "DX", "description": "W033 Thorax a.p."}, ("ap", "description")),
        ({"modality": "CR", "protocol": "Knie seitlich"}, ("lateral", "protocol")),
        ({"modality": "DX", "orientation": COR, "description": "pa"}, ("pa", "description")),
        ({"modality": "MG", "view": "MLO"}, ("mlo", "view")),
        ({"modality": "MG", "description": "RCC"}, ("cc", "description")),
        ({"modality": "MG", "view": "XCCL"}, ("xcc", "view")),
        ({"modality": "CT", "description": "A/P 5 cc"}, ("", "")),
        ({"modality": "CT", "description": "liver 20 ml"}, ("", "")),
        ({"modality": "MR", "orientation": AX}, ("axial", "orientation")),
        ({"modality": "MR", "orientation": SAG}, ("sagittal", "orientation")),
        ({"modality": "MR", "orientation": COR, "description": "ax"}, ("coronal", "orientation")),
        ({"modality": "MR", "orientation": TILTED}, ("oblique", "orientation")),
        ({"modality": "MR", "orientation": (0, 0, 0, 0, 0, 0)}, ("", "")),
        ({"modality": "MR", "orientation": (1, 2)}, ("", "")),
        ({"modality": "MR", "orientation": (float("nan"),) * 6}, ("", "")),
        ({"modality": "MR", "description": "t2_tse_sag"}, ("sagittal", "description")),
        ({"view": "coronal"}, ("coronal", "view")),
        ({"modality": "US", "description": "cor"}, ("coronal", "description")),
        ({}, ("", "")),
    ],
)
def test_views(tags, expected):
    assert view(tags) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"laterality": "L"}, ("L", "laterality")),
        ({"laterality": "B"}, ("B", "laterality")),
        ({"laterality": "U", "description": "left knee"}, ("L", "description")),
        ({"description": "Knie re"}, ("R", "description")),
        ({"description": "genou gauche"}, ("L", "description")),
        ({"description": "ginocchio dx"}, ("R", "description")),
        ({"description": "DX KNEE 2VW"}, ("", "")),
        ({"description": "koljeno lijevo"}, ("L", "description")),
        ({"description": "lijevo koljeno, desno koljeno"}, ("B", "description")),
        ({"description": "Hände bds"}, ("B", "description")),
        ({"body_part": "BREAST", "protocol": "LMLO"}, ("L", "protocol")),
        ({"body_part": "CHEST", "description": "left lateral"}, ("", "")),
        ({"body_part": "SPINE", "description": "L spine"}, ("", "")),
        ({"body_part": "HIP_LEFT"}, ("L", "body_part")),
        ({}, ("", "")),
    ],
)
def test_sides(tags, expected):
    assert laterality(tags) == expected


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300), st.lists(st.floats(), max_size=8))
def test_whatever_a_header_says_the_vocabulary_stays(text, numbers):
    tags = {"body_part": text, "view": text, "description": text, "orientation": tuple(numbers)}
    assert set(region(tags)[0].split("+")) <= {"", *REGIONS}
    assert view(tags)[0] in {"", "oblique", *anatomy._table()["views"]}
    assert laterality(tags)[0] in ("", "L", "R", "B")


def test_the_study_s_description_comes_last():
    wrist = {"modality": "MR", "study": "LEFT WRIST", "protocol": "STIR GR 512"}
    assert region(wrist) == ("wrist", "study")
    assert laterality(wrist) == ("L", "study")
    assert region({**wrist, "protocol": "SLOC KNEE"}) == ("knee", "protocol")
    assert region({"study": "Exercise Echocardiogram"}) == ("heart", "study")
