"""What the published models are known to be pretrained on, by data set.

In: a model reference and the name of a data set. Out: the corpora of that model which hold it. Nothing here fails. The
table repeats published lists and nothing else: a name that is missing is not known to be in, which is no proof that it
is not. Weights that were copied into a folder of another name are not recognised.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

NOT_TOLD_APART = re.compile(r"(?:_with_missing|_\d{4})+$")  # the same series with gaps filled; a year of an archive
ALSO_CALLED = {"pasta_sales": "hierarchical_sales"}


@dataclass(frozen=True)
class Corpus:
    """Data sets that some models were pretrained on."""

    name: str
    models: tuple[str, ...]  # beginnings of model references, in lower case
    part: str  # what of a data set was trained on
    source: str  # where that is said
    datasets: frozenset[str]


def pretrained_on(reference: str, dataset: str) -> list[Corpus]:
    """The corpora with a data set that a model is known to be pretrained on.

    Args:
        reference: `starter`, a hub id with or without `@revision`, or anything else, of which nothing is known.
        dataset: its name, as in the published lists; capitals, spaces and dashes do not matter.
    """
    model, name = reference.lower(), _plain(dataset)
    return [one for one in CORPORA if name in one.datasets and model.startswith(one.models)]


def is_listed(dataset: str) -> bool:
    """Whether any of the lists has a data set."""
    return any(_plain(dataset) in one.datasets for one in CORPORA)


def _plain(name: str) -> str:
    """A name as the table has it."""
    plain = NOT_TOLD_APART.sub("", re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"))
    return ALSO_CALLED.get(plain, plain)


def _names(text: str, more: Iterable[str] = ()) -> frozenset[str]:
    return frozenset(_plain(name) for name in [*text.split(), *more])


CORPORA = [
    Corpus(
        name="LOTSA v1",
        models=("salesforce/moirai-1.", "salesforce/moirai-moe-1."),
        part="all of it",
        source="Woo et al. 2024, arXiv 2402.02592; the list is the weighted recipe of SalesforceAIResearch/uni2ts. "
        "Moirai-MoE: Liu et al. 2024, arXiv 2410.10469",
        datasets=_names(
            """
            buildings_900k sceaux borealis ideal bdg-2_panther bdg-2_fox bdg-2_rat bdg-2_bear smart lcl
            azure_vm_traces_2017 borg_cluster_data_2011 alibaba_cluster_trace_2018 cmip6 era5
            taxi_30min uber_tlc_daily uber_tlc_hourly wiki-rolling_nips london_smart_meters wind_farms wind_power
            solar_power oikolab_weather elecdemand covid_mobility kaggle_web_traffic_weekly extended_web_traffic m5
            m4_yearly m4_quarterly m4_monthly m4_weekly m4_daily m4_hourly m1_yearly m1_quarterly m1_monthly
            monash_m3_yearly monash_m3_quarterly monash_m3_monthly monash_m3_other nn5_daily nn5_weekly
            tourism_yearly tourism_quarterly tourism_monthly cif_2016_6 cif_2016_12 traffic_hourly traffic_weekly
            australian_electricity_demand rideshare saugeenday sunspot temperature_rain vehicle_trips weather car_parts
            fred_md pedestrian_counts hospital covid_deaths kdd_cup_2018 bitcoin us_births largest
            PEMS03 PEMS04 PEMS07 PEMS08 PEMS_BAY LOS_LOOP LOOP_SEATTLE SZ_TAXI BEIJING_SUBWAY_30MIN HZMETRO SHMETRO
            ROTTERDAM Q-TRAFFIC kdd2022 godaddy favorita_sales favorita_transactions restaurant hierarchical_sales
            china_air_quality beijing_air_quality residential_load_power residential_pv_power cdc_fluview_ilinet
            cdc_fluview_who_nrevss project_tycho gfc12_load gfc14_load gfc17_load spain pdb elf bull cockatoo hog
            covid19_energy subseasonal subseasonal_precip
            """
        ),
    ),
    Corpus(
        name="GIFT-Eval, training parts",
        models=("salesforce/moirai-2.0",),
        part="what lies before the test windows of GIFT-Eval, of the data sets that were taken; which is not published",
        source="the model card of Salesforce/moirai-2.0-R-small: 'Subset of GIFT-Eval Pretrain, and Train datasets "
        "(Non-leaking historical context)'; the list is that of SalesforceAIResearch/gift-eval",
        datasets=_names(
            """
            m4_yearly m4_quarterly m4_monthly m4_weekly m4_daily m4_hourly electricity solar hospital covid_deaths
            us_births saugeenday temperature_rain kdd_cup_2018 car_parts restaurant hierarchical_sales LOOP_SEATTLE
            SZ_TAXI M_DENSE ett1 ett2 jena_weather bitbrains_fast_storage bitbrains_rnd bizitobs_application
            bizitobs_service bizitobs_l2c
            """
        ),
    ),
    Corpus(
        name="GIFT-Eval Pretrain",
        models=("salesforce/moirai-2.0",),
        part="the data sets that were taken; which is not published",
        source="the same model card; of the 88 data sets of Salesforce/GiftEvalPretrain those whose names could be "
        "checked",
        datasets=_names(
            """
            BEIJING_SUBWAY_30MIN buildings_900k cif_2016_12 cmip6 era5 largest lcl LOS_LOOP nn5_daily PEMS03 PEMS04
            sceaux traffic_weekly
            """
        ),
    ),
]
